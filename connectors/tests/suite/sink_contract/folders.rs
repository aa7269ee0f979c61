//! Records that go to folders by what they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rivus_connectors::{FileSink, RollingPolicy, contract};
use rivus_core::{Event, Sink, SinkWriter};
use tempfile::TempDir;

use super::{instance, job, message, named, names};

/// By the rest of a number, two folders deep.
fn by_rest(dir: &Path) -> FileSink<u64> {
    FileSink::lines(dir).partitioned_by(|number, _| format!("rest={}/numbers", number % 3))
}

/// Lines of committed files by the folder that they lie in, in the order of the files' numbers.
fn by_folder(dir: &Path) -> BTreeMap<String, Vec<u64>> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(name) = name.strip_suffix(".txt") {
                let number: u64 = name.rsplit('-').next().unwrap().parse().unwrap();
                files.push((number, path));
            }
        }
    }
    files.sort();
    let mut by_folder: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (_, path) in files {
        let folder = path.parent().unwrap().strip_prefix(dir).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| line.parse::<u64>().unwrap());
        let folder = folder.to_str().unwrap().to_owned();
        by_folder.entry(folder).or_default().extend(lines);
    }
    by_folder
}

#[test]
fn the_contract_is_kept_in_folders() {
    let make = |dir: &Path| by_rest(dir);
    let read = |dir: &Path| by_folder(dir).into_values().flatten().collect::<Vec<u64>>();
    contract::sink(
        || {
            let dir = TempDir::new().unwrap();
            let sink = make(dir.path());
            (sink, move || read(dir.path()))
        },
        |number| number,
    )
    .unordered()
    .check();
}

#[test]
fn each_record_lies_in_its_folder_once_whatever_crashes() {
    let dir = TempDir::new().unwrap();
    let mut job = job(by_rest(dir.path()));
    for _ in 0..3 {
        job.write(7).unwrap();
        job.complete(false).unwrap();
        job.commit_first(2).unwrap();
        job.write(4).unwrap();
        job.crash().unwrap();
    }
    job.write(3).unwrap();
    job.complete(true).unwrap();
    job.commit().unwrap();
    let found = by_folder(dir.path());
    assert_eq!(found.len(), 3);
    for (rest, (folder, numbers)) in (0..).zip(found) {
        assert_eq!(folder, format!("rest={rest}/numbers"));
        let expected = (0..24).filter(|number| number % 3 == rest);
        assert_eq!(numbers, expected.collect::<Vec<_>>());
    }
    let hidden = names(dir.path())
        .into_iter()
        .filter(|name| name.starts_with('.'));
    assert_eq!(hidden.count(), 0);
}

#[test]
fn a_job_under_an_id_that_was_used_before_numbers_on_behind_what_lies_in_folders() {
    let dir = TempDir::new().unwrap();
    for _ in 0..2 {
        let mut job = job(by_rest(dir.path()));
        job.write(3).unwrap();
        job.complete(true).unwrap();
        job.commit().unwrap();
    }
    let of_rest = |rest| names(&dir.path().join(format!("rest={rest}/numbers")));
    assert_eq!(
        of_rest(1),
        ["part-#-0-1.txt", "part-#-0-4.txt"].map(|name| named(name, 1))
    );
    assert_eq!(by_folder(dir.path())["rest=2/numbers"], [2, 2]);
}

#[test]
fn any_number_of_folders_can_be_written_to_with_few_files_open() {
    let dir = TempDir::new().unwrap();
    let sink = FileSink::lines(dir.path()).partitioned_by(|number: &u64, ts| {
        assert_eq!(ts, *number as i64 / 2);
        format!("{:03}", number % 200)
    });
    let mut writer = sink.writer(instance(1), None).unwrap();
    let twice = (0..400_u64).map(|number| Event::at(number as i64 / 2, number));
    writer.write(twice.collect()).unwrap();
    let parts = writer
        .prepare_commit(rivus_core::CheckpointId(1), true)
        .unwrap();
    // Each folder came round again when 199 others had been written to.
    assert_eq!(parts.len(), 400);
    let committer = sink.committer().unwrap();
    parts
        .iter()
        .for_each(|part| committer.commit(part).unwrap());
    let found = by_folder(dir.path());
    assert_eq!(found.len(), 200);
    assert_eq!(found["007"], [7, 207]);
}

#[test]
fn what_can_be_no_folder_is_one_line_with_the_mend_and_files_in_folders_close_at_checkpoints() {
    let dir = TempDir::new().unwrap();
    for name in ["", "a//b", "../b", ".hidden"] {
        let sink = FileSink::lines(dir.path()).partitioned_by(move |_: &u64, _| name.to_owned());
        let mut writer = sink.writer(instance(1), None).unwrap();
        let told = message(writer.write(vec![Event::at(0, 1)]));
        assert!(
            told.contains(&format!("folder {name:?} of ")) && told.contains("names with a /"),
            "{told}"
        );
    }
    let stays_open = by_rest(dir.path()).rolling(RollingPolicy {
        max_bytes: u64::MAX,
        on_checkpoint: false,
    });
    let told = message(stays_open.check());
    assert!(told.ends_with("set RollingPolicy::on_checkpoint"), "{told}");
}
