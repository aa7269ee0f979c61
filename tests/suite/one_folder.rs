//! Jobs that write into one folder: each has its own files there, whatever becomes of it and of the others.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rivus::connectors::{FileSink, GeneratorSource, RollingPolicy};
use rivus::{JobHandle, JobId, RestartStrategy, Storage, StreamEnvironment};
use uuid::Uuid;

use crate::waits::checkpoints;

/// A job that writes numbers to files of eighty bytes each, which stay open over checkpoints: so the same ones stand in the same files,
/// however often it begins again. It may fail in the middle.
fn written(number: u128, state: &Path, out: &Path, fails: &Arc<AtomicBool>) -> StreamEnvironment {
    let env = StreamEnvironment::builder()
        .checkpoint_interval(Duration::from_millis(20))
        .restart(RestartStrategy::FixedDelay {
            attempts: 1,
            delay: Duration::from_millis(10),
        })
        .storage(Storage::Directory(state.to_owned()))
        .build();
    let fails = Arc::clone(fails);
    let numbers = GeneratorSource::new(move |n, _| number as u64 * 10_000 + n);
    env.from_source(numbers.count(600).rate(1_500))
        .map(move |n| {
            assert!(n % 10_000 != 400 || !fails.swap(false, Ordering::Relaxed));
            n
        })
        .sink_to(FileSink::lines(out).rolling(RollingPolicy {
            max_bytes: 80,
            on_checkpoint: false,
        }));
    env
}

/// A life of it.
async fn life(number: u128, state: &Path, out: &Path, fails: &Arc<AtomicBool>) -> JobHandle {
    let env = written(number, &state.join(number.to_string()), out, fails);
    let job = env.resume("numbers", id(number)).await;
    job.expect("starts")
}

fn id(number: u128) -> JobId {
    JobId(Uuid::from_u128(number))
}

/// All files of a folder, hidden ones too, with their text.
fn files(dir: &Path) -> BTreeMap<String, String> {
    let files = std::fs::read_dir(dir).expect("is there");
    let read = files.map(|file| {
        let file = file.expect("is listed");
        let name = file.file_name().into_string().expect("is text");
        (name, std::fs::read_to_string(file.path()).expect("is read"))
    });
    read.collect()
}

/// What stands in files, in order.
fn lines<'a>(files: impl IntoIterator<Item = &'a String>) -> Vec<u64> {
    let texts = files.into_iter().flat_map(|text| text.lines());
    let mut numbers: Vec<u64> = texts.map(|n| n.parse().expect("a number")).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn a_job_that_goes_on_from_anothers_savepoint_writes_beside_its_files_and_takes_none_of_them()
{
    let never = Arc::default();
    for stops in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let (state, out) = (at("state"), at("out"));
        let mut first = life(1, &state, &out, &never).await;
        checkpoints(&mut first, 2).await;
        let savepoint = match stops {
            true => first.stop_with_savepoint().await,
            false => first.savepoint().await,
        };
        let savepoint = savepoint.expect("is made");
        let left = files(&out);
        let second = written(1, &at("other"), &out, &never);
        let second = second.from_savepoint(&savepoint).start("numbers").await;
        let second = second.expect("starts");
        let own = format!("-{}-", second.id().short());
        second.wait().await.expect("completes");
        if !stops {
            // Both have gone on, side by side.
            first.wait().await.expect("completes");
        }
        let (own, others) = files(&out)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(name, _)| name.contains(&own));
        // The first one's are as they were, and what it wrote itself.
        let is_whole = |(name, _): &(&String, &String)| !name.starts_with('.');
        for (name, text) in left.iter().filter(is_whole) {
            assert_eq!(others.get(name), Some(text), "{name}");
        }
        let (own, others) = (lines(own.values()), lines(others.values()));
        let (begins, last) = match stops {
            true => (others.len() as u64, others.len() as u64),
            false => (own.first().copied().unwrap_or_default() - 10_000, 600),
        };
        assert_eq!(others, Vec::from_iter(10_000..10_000 + last));
        assert_eq!(own, Vec::from_iter(10_000 + begins..10_600));
    }
}

#[tokio::test]
async fn a_job_that_is_killed_and_goes_on_beside_another_writes_the_files_that_it_would_have_written_alone()
 {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    let (never, once) = (Arc::default(), Arc::new(AtomicBool::new(true)));

    let mut alone = BTreeMap::new();
    for number in [1, 2] {
        let out = at(&format!("alone-{number}"));
        let job = life(number, &at("undisturbed"), &out, &never).await;
        job.wait().await.expect("completes");
        alone.extend(files(&out));
    }

    let (state, out) = (at("state"), at("out"));
    let mut first = life(1, &state, &out, &never).await;
    let second = life(2, &state, &out, &never).await;
    checkpoints(&mut first, 2).await;
    drop(first); // the end of its process
    let first = life(1, &state, &out, &once).await;
    first.wait().await.expect("completes");
    assert!(!once.load(Ordering::Relaxed), "it has not failed");
    second.wait().await.expect("completes");
    assert_eq!(files(&out), alone);

    let first = id(1).short();
    assert!(alone.contains_key(&format!("part-{first}-0-0.txt")));
    assert!(alone.len() > 60, "{:?}", alone.keys());
}
