//! Jobs that go on from a savepoint as other programs: operators that have come or gone, state of another form.

use std::collections::BTreeMap;

use rivus::connectors::FileSink;
use rivus::{DataStream, JobError, Storage, StreamEnvironment};

use crate::savepoints::{KEYS, Life, RECORDS, assert_rows, expected, rows};
use crate::waits::under_way;
use crate::written::csv_lines;

#[tokio::test]
async fn a_job_that_does_not_fit_is_refused_in_one_line() {
    for on_disk in [false, true] {
        a_job_that_does_not_fit(on_disk).await;
    }
}

async fn a_job_that_does_not_fit(on_disk: bool) {
    let dir = tempfile::tempdir().expect("a directory");
    let life = Life {
        on_disk,
        ..Life::in_memory(dir.path())
    };
    let savepoint = life.begun_and_stopped().await;
    let life = life.last();
    let without_bursts = |env: &StreamEnvironment| {
        let by_key = life.numbers(env).key_by(|n| n % KEYS);
        let counts = by_key.count().uid("counts");
        counts
            .map(|(key, count)| (key, 0, count))
            .sink_to(life.out("counts"))
            .uid("counts out");
    };
    let env = life.env();
    without_bursts(&env);
    let refused = env.from_savepoint(&savepoint).start("fewer").await;
    let refusal = refused.err().expect("does not fit").to_string();
    assert!(
        refusal.contains("state of operator \"bursts\"") && !refusal.contains('\n'),
        "{refusal}"
    );
    without_bursts(&env);
    let dropped = env.from_savepoint(&savepoint).drop_state_of("burst");
    let refusal = dropped.start("fewer").await.err().expect("is unknown");
    assert!(
        refusal.to_string().contains("no operator of that uid"),
        "{refusal}"
    );

    let other_groups = StreamEnvironment::builder()
        .max_parallelism(64)
        .storage(Storage::Directory(dir.path().join("state")))
        .build();
    life.write(&other_groups);
    let refused = other_groups.from_savepoint(&savepoint).start("fewer").await;
    let refusal = refused.err().expect("does not fit").to_string();
    assert!(refusal.contains(".max_parallelism(128)"), "{refusal}");

    without_bursts(&env);
    let mut fewer = env.from_savepoint(&savepoint);
    for uid in [
        "bursts",
        "bursts out",
        "totals",
        "totals out",
        "windows",
        "windows out",
    ] {
        fewer = fewer.drop_state_of(uid);
    }
    fewer.execute("fewer").await.expect("completes");
    let counts = |rows: Vec<String>| -> Vec<String> {
        let counts = rows.into_iter().filter(|row| row.starts_with("counts"));
        counts.collect()
    };
    assert_eq!(counts(rows(dir.path())), counts(expected()));
}

#[tokio::test]
async fn an_operator_that_is_new_starts_with_nothing_beside_those_that_go_on() {
    for on_disk in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let life = Life {
            on_disk,
            ..Life::in_memory(dir.path())
        };
        let savepoint = life.begun_and_stopped().await;
        let life = life.last();
        let env = life.env();
        let numbers = life.numbers(&env);
        life.write_from(&numbers);
        let by_key = numbers.key_by(|n| n % KEYS);
        by_key
            .count()
            .uid("new counts")
            .map(|(key, count)| (key, 0, count))
            .sink_to(life.out("new"))
            .uid("new out");
        let from = env.from_savepoint(&savepoint);
        from.execute("numbers").await.expect("completes");
        assert_rows(&rows(dir.path()), &expected());
        // It counts from one for each key, whatever the others had seen.
        let mut counts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for line in csv_lines(&dir.path().join("new")) {
            let (key, count) = line.rsplit_once(",").expect("has fields");
            let counts = counts.entry(key.to_owned()).or_default();
            counts.push(count.parse().expect("is a number"));
        }
        assert!(!counts.is_empty(), "on disk: {on_disk}");
        for (key, mut counts) in counts {
            counts.sort_unstable();
            let all = 1..=counts.len() as u64;
            assert!(counts.iter().copied().eq(all), "{key}: {counts:?}");
        }
    }
}

/// Three versions of a program whose state changes, and a function that keeps it.
mod versions {
    /// A version: what it keeps by key, and what it makes of it.
    macro_rules! version {
        ($name:ident, { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }, |$state:ident| $work:expr) => {
            pub mod $name {
                use rivus::{Event, Keyed, KeyedProcessFunction, Output, StateSet, UserError, ValueState};
                use serde::{Deserialize, Serialize};

                #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
                pub struct Seen {
                    $($(#[$attribute])* pub $field: ValueState<$type>,)*
                }

                #[derive(Clone)]
                pub struct Count;

                impl KeyedProcessFunction<u64, u64> for Count {
                    type Out = (u64, String);
                    type State = Seen;

                    fn process(
                        &mut self,
                        _n: Event<u64>,
                        $state: &mut Keyed<'_, u64, Seen>,
                        out: &mut Output<'_, (u64, String)>,
                    ) -> Result<(), UserError> {
                        let count: String = $work;
                        out.emit((*$state.key(), count));
                        Ok(())
                    }
                }
            }
        };
    }

    version!(first, { count: u32, gone: String, }, |seen| {
        seen.gone.set("something".to_owned());
        *seen.count.get_or_default() += 1;
        seen.count.get().expect("is set").to_string()
    });
    version!(second, { #[serde(default)] new: bool, count: u64, }, |seen| {
        seen.new.set(true);
        *seen.count.get_or_default() += 1;
        seen.count.get().expect("is set").to_string()
    });
    version!(third, { count: String, }, |seen| {
        let before = seen.count.take().unwrap_or_default();
        let count = before.parse::<u64>().unwrap_or(0) + 1;
        seen.count.set(count.to_string());
        count.to_string()
    });
    version!(unkept, { count: bool, }, |seen| seen.count.is_empty().to_string());
}

fn migrated(old: versions::second::Seen) -> versions::third::Seen {
    let mut seen = versions::third::Seen::default();
    if let Some(count) = old.count.get() {
        seen.count.set(count.to_string());
    }
    seen
}

#[tokio::test]
async fn state_follows_its_type_from_version_to_version_of_the_program() {
    for on_disk in [false, true] {
        state_follows_its_type(on_disk).await;
    }
}

async fn state_follows_its_type(on_disk: bool) {
    let dir = tempfile::tempdir().expect("a directory");
    let life = Life {
        on_disk,
        ..Life::in_memory(dir.path())
    };
    let write = |env: &StreamEnvironment, version: u32, until: u64| {
        let life = Life { until, ..life };
        let by_key = life.numbers(env).key_by(|n| n % KEYS);
        let counts = match version {
            1 => by_key.process(versions::first::Count),
            2 => by_key.process(versions::second::Count),
            3 => by_key.process(versions::third::Count),
            _ => by_key.process(versions::unkept::Count),
        };
        let out = FileSink::csv(dir.path().join("counts"));
        counts
            .uid("counts")
            .map(|(key, count)| (key, 0, count))
            .sink_to(out)
            .uid("out");
    };
    let env = life.env();
    let quarter = RECORDS / 4;
    write(&env, 1, quarter);
    let mut job = env.start("first").await.expect("starts");
    under_way(&mut job, 2).await;
    let savepoint = job.stop_with_savepoint().await.expect("stops");

    let contents = savepoint.inspect(true).expect("is whole");
    let counts = contents.operators.iter().find(|o| o.uid == "counts");
    let states = &counts.expect("is there").states;
    let state = states.iter().find(|s| s.name == "rows").expect("has rows");
    assert!(
        state.keys > Some(0) && state.keys <= Some(KEYS),
        "{:?}",
        state.keys
    );
    let schema = state.schema.as_deref().expect("has a schema");
    assert!(
        schema.contains("Seen { count: [u32], gone: [String] }"),
        "{schema}"
    );

    write(&env, 4, RECORDS);
    let refused = env.from_savepoint(&savepoint).start("other").await;
    let Some(JobError::Savepoint(refusal)) = refused.err() else {
        panic!("it is a job");
    };
    assert!(
        refusal.contains("field \"count\" of Seen was u32 and is bool") && !refusal.contains('\n'),
        "{refusal}"
    );

    write(&env, 2, 2 * quarter);
    let job = env.from_savepoint(&savepoint).start("second").await;
    let mut job = job.expect("starts");
    under_way(&mut job, 2).await;
    let savepoint = job.stop_with_savepoint().await.expect("stops");

    write(&env, 3, RECORDS);
    env.migrate("Sene", |old: versions::second::Seen| migrated(old));
    let refusal = env.from_savepoint(&savepoint).start("third").await;
    let refusal = refusal.err().expect("is mistyped").to_string();
    assert!(
        refusal.contains("such as \"Seen\"") && !refusal.contains('\n'),
        "{refusal}"
    );
    write(&env, 3, 3 * quarter);
    env.migrate_state_of("counts", "Seen", migrated);
    let third = env.from_savepoint(&savepoint).start("third").await;
    let mut third = third.expect("starts");
    under_way(&mut third, 2).await;
    let savepoint = third.stop_with_savepoint().await.expect("stops");

    // The function is part of the program, and what has the present form stays as it is.
    write(&env, 3, RECORDS);
    env.migrate_state_of("counts", "Seen", migrated);
    let again = env.from_savepoint(&savepoint);
    again.execute("third, again").await.expect("completes");
    let counts = expected()
        .into_iter()
        .filter(|row| row.starts_with("counts"));
    assert_eq!(rows(dir.path()), counts.collect::<Vec<_>>());
}

#[tokio::test]
async fn an_operator_of_the_same_uid_that_keeps_no_such_state_is_refused() {
    for on_disk in [false, true] {
        an_operator_of_the_same_uid_that_keeps_no_such_state(on_disk).await;
    }
}

async fn an_operator_of_the_same_uid_that_keeps_no_such_state(on_disk: bool) {
    let dir = tempfile::tempdir().expect("a directory");
    let life = Life {
        on_disk,
        ..Life::in_memory(dir.path())
    };
    let out = |stream: DataStream<(u64, u64)>| {
        let out = FileSink::csv(dir.path().join("counts"));
        stream.uid("counts").sink_to(out).uid("out");
    };
    let env = life.env();
    out(life.numbers(&env).key_by(|n| n % KEYS).count());
    let mut job = env.start("counts").await.expect("starts");
    under_way(&mut job, 2).await;
    let savepoint = job.stop_with_savepoint().await.expect("stops");
    let life = life.last();
    let other = |env: &StreamEnvironment| out(life.numbers(env).map(|n| (n % KEYS, 1)));
    other(&env);
    let refused = env.from_savepoint(&savepoint).execute("other").await;
    let refusal = refused.expect_err("keeps nothing").to_string();
    assert!(
        refusal.contains("of operator counts") && refusal.contains(".drop_state_of(\"counts\")"),
        "{refusal}"
    );
    assert!(!refusal.contains('\n'), "{refusal}");
    other(&env);
    let dropped = env.from_savepoint(&savepoint).drop_state_of("counts");
    dropped.execute("other").await.expect("completes");
}
