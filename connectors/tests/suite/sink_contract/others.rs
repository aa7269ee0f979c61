//! Sinks that write no files, beyond the contract.

use std::sync::{Arc, Mutex};

use rivus_connectors::{CollectSink, DiscardSink, PrintSink};
use rivus_core::{CheckpointId, Event, ParallelInstance, Sink, SinkWriter};

use super::instance;

#[test]
fn collected_records_are_ordered_by_checkpoint_then_by_subtask() {
    let sink = CollectSink::<u64>::new();
    let committer = sink.committer().unwrap();
    let mut committables = Vec::new();
    for checkpoint in 1..3u64 {
        for index in 0..2u32 {
            let instance = ParallelInstance {
                index,
                parallelism: 2,
                ..instance(1)
            };
            let mut writer = sink.writer(instance, None).unwrap();
            let value = checkpoint * 10 + u64::from(index);
            writer.write(vec![Event::at(value as i64, value)]).unwrap();
            committables.extend(
                writer
                    .prepare_commit(CheckpointId(checkpoint), false)
                    .unwrap(),
            );
        }
    }
    for committable in committables.iter().rev() {
        committer.commit(committable).unwrap();
    }
    assert_eq!(sink.collected().values(), [10, 11, 20, 21]);
    assert_eq!(sink.collected().events()[3], Event::at(21, 21));
    assert_eq!(sink.collected().len(), 4);
}

#[test]
fn printing_writes_a_line_per_record_with_the_prefix() {
    let screen = Arc::new(Mutex::new(Vec::new()));
    let display = PrintSink::<String>::display()
        .prefix("> ")
        .to(Arc::clone(&screen));
    let debug = PrintSink::<String>::debug().to(Arc::clone(&screen));
    for sink in [display, debug] {
        assert!(sink.committer().is_none());
        let mut writer = sink.writer(instance(1), None).unwrap();
        writer
            .write(vec![
                Event::at(0, "a".to_owned()),
                Event::at(0, "b".to_owned()),
            ])
            .unwrap();
        writer.flush().unwrap();
    }
    let printed = String::from_utf8(screen.lock().unwrap().clone()).unwrap();
    assert_eq!(printed, "> a\n> b\n\"a\"\n\"b\"\n");
}

#[test]
fn discarding_counts_over_all_writers_and_shows_runs_to_the_probe() {
    let runs = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&runs);
    let sink = DiscardSink::<u64>::new().probe(move |run| seen.lock().unwrap().push(run.len()));
    for attempt in 1..3 {
        let mut writer = sink.clone().writer(instance(attempt), None).unwrap();
        writer
            .write(vec![Event::at(0, 1); attempt as usize])
            .unwrap();
    }
    assert_eq!(sink.count(), 3);
    assert_eq!(*runs.lock().unwrap(), [1, 2]);
}
