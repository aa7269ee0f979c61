//! Collecting and files, against the contract.

use rivus_connectors::contract;
use rivus_connectors::{CollectSink, Compression, FileSink, RollingPolicy};
use tempfile::TempDir;

use super::committed;

#[test]
fn collecting_keeps_the_contract() {
    let make = || {
        let sink = CollectSink::new();
        let collected = sink.collected();
        (sink, move || collected.values())
    };
    contract::sink(make, |n: u64| n).check();
}

/// Checks a file sink that rolls at some sizes, as long as a part may be.
fn files_keep_the_contract(on_checkpoint: bool, compression: Option<Compression>) {
    for max_bytes in [1, 19, u64::MAX] {
        let make = || {
            let dir = TempDir::new().unwrap();
            let policy = RollingPolicy {
                max_bytes,
                on_checkpoint,
            };
            let sink = FileSink::lines(dir.path()).rolling(policy);
            let sink = match compression {
                None => sink,
                Some(compression) => sink.compressed(compression),
            };
            (sink, move || committed(dir.path()))
        };
        let contract = contract::sink(make, |n: u64| n).cases(12);
        match on_checkpoint {
            true => contract.check(),
            false => contract.lags().check(),
        }
    }
}

#[test]
fn files_that_are_closed_at_checkpoints_keep_the_contract() {
    files_keep_the_contract(true, None);
}

#[test]
fn files_that_stay_open_over_checkpoints_keep_the_contract() {
    files_keep_the_contract(false, None);
}

#[test]
fn packed_files_keep_the_contract_also_if_they_stay_open() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        files_keep_the_contract(true, Some(compression));
        files_keep_the_contract(false, Some(compression));
    }
}
