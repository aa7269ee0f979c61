//! Wrong programs: one line that says what, where, and how to mend it; before anything runs where the
//! program itself shows it.

use std::time::Duration;

use rivus::connectors::{BadLine, FileSink, TextFileSource};
use rivus::{
    DataStream, Event, EventTimeTrigger, JobError, Keyed, KeyedProcessFunction, OnError, Output,
    Rejected, RuntimeMode, SideOutputTag, StateSet, StreamEnvironment, Timestamp, UserError,
    ValueState, WatermarkStrategy, WindowAssigner, Windowed,
};
use serde::{Deserialize, Serialize};

type Words = DataStream<(String, i64)>;

fn environment() -> StreamEnvironment {
    StreamEnvironment::builder()
        .runtime(RuntimeMode::Current)
        .seed(1)
        .build()
}

fn words(env: &StreamEnvironment) -> Words {
    env.from_collection(vec![("a".to_owned(), 1_000)])
}

fn timed(env: &StreamEnvironment) -> Words {
    let strategy = WatermarkStrategy::monotonous();
    words(env).assign_watermarks(strategy.with_timestamps(|word: &(String, i64)| word.1))
}

fn counted(words: &Words, size: Duration) -> DataStream<Windowed<String, u64>> {
    let keyed = words.key_by_ref(|word| word.0.as_str());
    keyed.window(WindowAssigner::tumbling(size)).count()
}

const MINUTE: Duration = Duration::from_secs(60);

/// What the author of a program is told before it is started.
async fn refusal(write: impl FnOnce(&StreamEnvironment)) -> String {
    let env = environment();
    write(&env);
    match env.start("wrong").await {
        Ok(_) => "started".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(start_paused = true)]
async fn the_best_none_of_a_key_or_a_window_are_refused() {
    for windowed in [false, true] {
        let told = refusal(|env| {
            let by_word = timed(env).key_by_ref(|word| word.0.as_str());
            if windowed {
                let minutes = by_word.window(WindowAssigner::tumbling(MINUTE));
                minutes.top_n(0, |word| word.1).print_debug();
            } else {
                by_word.top_n(0, |word| word.1).print_debug();
            }
        });
        let operator = if windowed { "window" } else { "top_n" };
        let expected = "the best 0 records are none: ask for at least 1";
        assert_eq!(told.await, format!("operator \"{operator}\": {expected}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_would_see_anything_of_is_refused() {
    let told = refusal(|env| {
        let _ = words(env).map(|word| word.1).name("numbers");
    });
    assert_eq!(
        told.await,
        "the job has no sink, so nobody would see what operator \"numbers\" emits: end its stream with one, such as \
         .print() or .sink_to(..)"
    );
    // One that does something else besides is only warned of.
    let told = refusal(|env| {
        let words = words(env);
        let _ = words.map(|word| word.1);
        words.collect();
    });
    assert_eq!(told.await, "started");
}

#[tokio::test(start_paused = true)]
async fn windows_that_are_too_short_are_refused() {
    let told = refusal(|env| {
        counted(&timed(env), Duration::from_micros(500)).print_debug();
    });
    assert_eq!(
        told.await,
        "operator \"window\": a window's size and slide must be at least one millisecond: \
         give a longer Duration"
    );
}

#[tokio::test(start_paused = true)]
async fn windows_that_would_never_fire_or_be_whole_are_refused() {
    let all = |env: &StreamEnvironment| timed(env).window_all(WindowAssigner::tumbling(MINUTE));
    let table = [
        (
            refusal(|env| drop(all(env).count().parallelism(2).print_debug())).await,
            "operator \"window\" works on all records in one place and has parallelism 2: leave \
             .parallelism(..) out, or divide the stream by .key_by(..) before its windows",
        ),
        (
            refusal(|env| {
                let windows = words(env).window_all(WindowAssigner::session(MINUTE));
                windows.count().print_debug();
            })
            .await,
            "operator \"window\" works in event time, but no watermarks reach it from \"source\": call \
             .assign_watermarks(..) between the two",
        ),
        (
            refusal(|env| {
                let windows = words(env).window_all(WindowAssigner::global());
                windows.trigger(EventTimeTrigger).count().print_debug();
            })
            .await,
            "operator \"window\" works in event time, but no watermarks reach it from \"source\": call \
             .assign_watermarks(..) between the two",
        ),
        (
            refusal(|env| {
                words(env).count_window_all(0).count().print_debug();
            })
            .await,
            "operator \"window\": a trigger or window of 0 records never fires: give at least 1",
        ),
        (
            refusal(|env| {
                let keyed = words(env).key_by(|word| word.1);
                keyed.window(WindowAssigner::global()).count().print_debug();
            })
            .await,
            "operator \"window\": a global window has no end at which it could fire: give it a .trigger(..), or \
             take .count_window(..)",
        ),
        (
            refusal(|env| {
                let joined = words(env).join(&words(env)).on(|a| a.1, |b| b.1);
                let windows = joined.window(WindowAssigner::global());
                windows.apply(|a, _| a.1).print_debug();
            })
            .await,
            "operator \"join\": two streams are joined when a window fires, and a global one never does: give it a size, a \
             session's gap or a .trigger(..)",
        ),
        (
            refusal(|env| {
                // By processing time, nothing is missing.
                let minutes = WindowAssigner::tumbling(MINUTE).processing_time();
                words(env).window_all(minutes).count().print_debug();
            })
            .await,
            "started",
        ),
    ];
    for (told, expected) in table {
        assert_eq!(told, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn records_are_not_gathered_before_an_exchange_where_each_is_needed() {
    let expected = "records can't be gathered before the exchange here: leave .pre_aggregate(true) out, or take windows of a fixed \
                    size or sessions of one gap, by event time without trigger, evictor and late output, and .aggregate(..) or \
                    .reduce_associative(..)";
    let summed = |env: &StreamEnvironment| {
        let minutes = timed(env)
            .key_by(|_| ())
            .window(WindowAssigner::tumbling(MINUTE));
        let minutes = minutes.pre_aggregate(true);
        minutes.sum(|word| word.1).print_debug();
    };
    assert_eq!(refusal(summed).await, "started");
    let folded = |env: &StreamEnvironment| {
        let minutes = timed(env)
            .key_by(|_| ())
            .window(WindowAssigner::tumbling(MINUTE));
        let minutes = minutes.pre_aggregate(true);
        minutes.reduce(|_, _| {}).print_debug();
    };
    assert_eq!(refusal(folded).await, expected);
    let often = |env: &StreamEnvironment| {
        let minutes = timed(env)
            .key_by(|_| ())
            .window(WindowAssigner::tumbling(MINUTE));
        let often = minutes
            .trigger(rivus::CountTrigger::every(2))
            .pre_aggregate(true);
        often.count().print_debug();
    };
    assert_eq!(refusal(often).await, expected);
    let sessions = |env: &StreamEnvironment| {
        let sessions = timed(env)
            .key_by(|_| ())
            .window(WindowAssigner::session(MINUTE));
        sessions.pre_aggregate(true)
    };
    let of_one_gap = |env: &StreamEnvironment| {
        let _ = sessions(env).count().print_debug();
    };
    assert_eq!(refusal(of_one_gap).await, "started");
    let of_many = |env: &StreamEnvironment| {
        let _ = sessions(env).gap_by(|_| MINUTE).count().print_debug();
    };
    assert_eq!(refusal(of_many).await, expected);
}

#[tokio::test(start_paused = true)]
async fn side_outputs_are_written_and_read_or_refused() {
    let late = SideOutputTag::<(String, i64)>::new("late");
    let table = [
        (
            refusal(|env| drop(words(env).side_output(&late))).await,
            "operator \"source\": side output \"late\" is read, but the operator has none of that \
             name: compare the tags",
        ),
        (
            refusal(|env| drop(words(env).map(|word| word).side_output(&late))).await,
            "operator \"map\": side output \"late\" is read, but the operator has none of that name: \
             compare the tags",
        ),
        (
            refusal(|env| drop(counted(&timed(env), MINUTE).side_output(&late))).await,
            "operator \"window\": side output \"late\" is read, but the operator has none of that \
             name: compare the tags",
        ),
        (
            refusal(|env| {
                let windows = timed(env)
                    .key_by(|word| word.1)
                    .window(WindowAssigner::tumbling(MINUTE));
                windows.late_output(&late).count().print_debug();
            })
            .await,
            "operator \"window\": side output \"late\" is written to, but nobody reads it: \
             call .side_output(..) with the same tag on the operator's stream",
        ),
        (
            refusal(|env| {
                let windows = timed(env)
                    .key_by(|word| word.1)
                    .window(WindowAssigner::tumbling(MINUTE));
                let other = SideOutputTag::<u32>::new("late");
                drop(windows.late_output(&late).count().side_output(&other));
            })
            .await,
            "operator \"window\": side output \"late\" is read as u32 and written as \
             (alloc::string::String, i64): use clones of one tag",
        ),
        (
            refusal(|env| {
                let bad = SideOutputTag::<Rejected<(String, i64)>>::new("bad");
                let parsed = words(env).try_map(
                    |word| word.0.parse::<u32>(),
                    OnError::SideOutput(bad.clone()),
                );
                parsed.print();
            })
            .await,
            "operator \"try_map\": side output \"bad\" is written to, but nobody reads it: \
             call .side_output(..) with the same tag on the operator's stream",
        ),
        (
            refusal(|env| {
                let source = TextFileSource::new("n.txt").parsed_by(str::parse::<u32>);
                let lines = env.from_source(source.collecting_bad_lines());
                lines
                    .bad_lines_to(&SideOutputTag::<BadLine>::new("bad"))
                    .print();
            })
            .await,
            "operator \"parsed\": side output \"bad\" is written to, but nobody reads it: \
             call .side_output(..) with the same tag on the operator's stream",
        ),
    ];
    for (told, expected) in table {
        assert_eq!(told, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_the_next_call_undoes_is_refused() {
    let table = [
        (
            refusal(|env| drop(words(env).broadcast().key_by(|word| word.1).count())).await,
            ".broadcast() is undone by .key_by(..) right behind it: leave it out, or put an operator \
             between the two",
        ),
        (
            refusal(|env| drop(words(env).rebalance().broadcast().map(|word| word))).await,
            ".rebalance() is undone by .broadcast(..) right behind it: leave it out, or put an \
             operator between the two",
        ),
    ];
    for (told, expected) in table {
        assert_eq!(told, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn file_sinks_that_would_write_the_same_files_are_refused() {
    let both = |one: &'static str, other: &'static str| {
        refusal(move |env| {
            let lines = words(env).map(|word| word.0);
            lines.sink_to(FileSink::lines(one)).uid("one");
            lines
                .sink_to(FileSink::lines(other).extension("log"))
                .uid("other");
        })
    };
    for (one, other) in [("out", "out"), ("out", "./out/")] {
        let target = std::path::absolute("out/part-*").unwrap();
        let expected = format!(
            "sinks \"one\" and \"other\" both write to {}: \
             give each its own (for files, another directory or prefix)",
            target.display()
        );
        assert_eq!(both(one, other).await, expected);
    }
    let told = refusal(|env| {
        let lines = words(env).map(|word| word.0);
        lines.sink_to(FileSink::lines("out").prefix("a/b"));
    });
    assert_eq!(
        told.await,
        "operator \"sink\": prefix \"a/b\" of the files in out: it must not be empty or hold a /"
    );
}

/// What a job fails with at its first record.
async fn failure(write: impl FnOnce(&StreamEnvironment)) -> String {
    let env = environment();
    write(&env);
    match env.execute("wrong").await {
        Err(JobError::Failed(failure)) => {
            let operator = failure.operator.map(|uid| uid.0).unwrap_or_default();
            format!("{operator}: {}", failure.message)
        }
        other => format!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn records_without_a_time_fail_the_job_instead_of_falling_into_one_window() {
    let told = failure(|env| {
        let untimed = words(env).assign_watermarks(WatermarkStrategy::monotonous());
        counted(&untimed, MINUTE).collect();
    });
    assert_eq!(
        told.await,
        "watermarks-1: a record has no time: give the watermark strategy \
         .with_timestamps(..), or read from a source that knows its records' times"
    );
}

#[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
struct Last {
    at: ValueState<Timestamp>,
}

/// Sets a timer at each record.
#[derive(Clone)]
struct Remind;

impl KeyedProcessFunction<String, (String, i64)> for Remind {
    type Out = String;
    type State = Last;

    fn process(
        &mut self,
        event: Event<(String, i64)>,
        state: &mut Keyed<'_, String, Last>,
        _out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        state.at.set(event.ts);
        state.register_event_timer(event.value.1);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_timer_that_no_watermark_would_reach_fails_the_job() {
    let told = failure(|env| {
        let keyed = words(env).key_by_ref(|word| word.0.as_str());
        keyed.process(Remind).collect();
    });
    assert_eq!(
        told.await,
        "process-1: it registers an event timer, but no watermarks reach it from \"source\": \
         call .assign_watermarks(..) between the two"
    );
    let env = environment();
    let keyed = timed(&env).key_by_ref(|word| word.0.as_str());
    keyed.process(Remind).collect();
    env.execute("right").await.unwrap();
}
