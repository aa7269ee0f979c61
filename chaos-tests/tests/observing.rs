//! Whoever reads committed files while a job runs sees what is wrong with them.

use std::fs;
use std::io;
use std::time::Duration;

use rivus_chaos::{Committed, JobSpec, Line, Observer, Shape, judge};
use tempfile::TempDir;

/// Files that are written between looks: `0-1 text` writes a part, `0-1` takes it away, `~` leaves its last line without an
/// end, `|` is a look. Returns the values of the lines as they appeared, and what is wrong.
fn observed(happens: &str) -> (String, Vec<String>) {
    written(happens).expect("the folder can be written")
}

fn written(happens: &str) -> io::Result<(String, Vec<String>)> {
    let dir = TempDir::new()?;
    let mut observer = Observer::of_texts(dir.path().join("out"));
    observer.look(Duration::ZERO);
    fs::create_dir(dir.path().join("out"))?;
    for what in happens.split_inclusive('|') {
        for write in what.trim_end_matches('|').split(';').map(str::trim) {
            let (name, text) = write.split_once(' ').unwrap_or((write, ""));
            let path = dir.path().join(format!("out/part-0badcafe-{name}.txt"));
            match (name, text) {
                ("", _) => {}
                (_, "") => fs::remove_file(path)?,
                _ => {
                    let whole = format!("{text}\n");
                    let text = text.strip_suffix('~').unwrap_or(&whole);
                    fs::write(path, text.replace(' ', "\n").replace(':', "\t"))?;
                }
            }
        }
        if what.ends_with('|') {
            observer.look(Duration::from_millis(4));
        }
    }
    let (lines, wrong) = observer.look_at_last(Duration::from_millis(9));
    let values: Vec<String> = lines.into_iter().map(|(_, value)| value).collect();
    Ok((values.join(" "), wrong))
}

#[test]
fn files_that_appear_and_stay_are_read_in_the_order_in_which_they_appear() {
    let (lines, wrong) = observed("1-0 a:1 a:2 |; 0-0 b:3 |; 0-1 b:4 ; 1-1 a:5 |");
    assert_eq!((lines.as_str(), wrong), ("1 2 3 4 5", Vec::new()));
    let (lines, wrong) = observed("0-1 a:2 |; 0-0 a:1 |");
    assert_eq!((lines.as_str(), wrong), ("2 1", Vec::new()));
}

#[test]
fn a_committed_file_that_grows_changes_or_goes_is_told() {
    for happens in [
        "0-0 a:1 |; 0-0 a:1 a:2 |",
        "0-0 a:1 |; 0-0 a:7 |; 0-0 a:1 |",
        "0-0 a:1 |; 0-0 a:1 a:2 ",
    ] {
        let (_, wrong) = observed(happens);
        assert!(wrong.concat().contains("has others"), "{wrong:?}");
    }
    for happens in [
        "0-0 a:1 |; 0-0 |",
        "0-0 a:1 |; 0-0 |; 0-0 a:1 |",
        "0-0 a:1 |; 0-0",
    ] {
        let (_, wrong) = observed(happens);
        assert!(wrong.concat().contains("is gone"), "{wrong:?}");
    }
}

#[test]
fn an_old_file_that_changes_is_told_within_as_many_looks_as_there_are_files() {
    let files: String = (0..9).map(|n| format!("0-{n} a:{n} |;")).collect();
    let (_, wrong) = observed(&format!("{files} 0-2 a:7 |||||||||; 0-2 a:2 |"));
    assert!(wrong.concat().contains("(0, 2)"), "{wrong:?}");
}

#[test]
fn half_a_line_is_told() {
    let (_, wrong) = observed("0-0 a:1 a:2~|");
    assert!(wrong.concat().contains("no whole"), "{wrong:?}");
}

#[test]
fn lines_that_appear_in_another_order_are_told_whatever_there_is_at_last() {
    let spec = JobSpec::directed(Shape::Packed, 1);
    let line = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let (a1, a2, b1) = (line("a", "1"), line("a", "2"), line("b", "1"));
    let found = |appeared: &[&Line]| {
        let main = vec![a1.clone(), a2.clone(), b1.clone()];
        let run = Committed {
            main,
            appeared: appeared.iter().copied().cloned().collect(),
            ..Committed::default()
        };
        judge(&spec, &run, &run).len()
    };
    assert_eq!(found(&[&a1, &b1, &a2]), 0);
    assert_eq!(found(&[&a2, &b1, &a1]), 1);
    assert_eq!(found(&[&a1, &b1]), 1);
}
