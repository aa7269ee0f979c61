//! Command lines that the binary refuses.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::process::Command;

#[test]
fn a_benchmark_of_nothing_is_refused_in_one_line() {
    for line in [
        "keyed --records",
        "keyed --keys",
        "keyed --rounds",
        "keyed --batch",
        "stateless --records",
        "stateless --rounds",
        "stateless --parallelism",
        "latency --rate",
        "latency --keys",
        "latency --seconds",
        "checkpoint --keys",
        "checkpoint --interval",
        "checkpoint --checkpoints",
        "backpressure --keys",
        "backpressure --seconds",
        "state --restore --keys",
        "state --memory",
        "state --hot-keys",
        "state --seconds",
        "state --loop-rows",
        "state --checkpoints",
        "state --rounds",
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rivus"));
        let command = command.arg("bench").args(line.split(' ')).arg("0");
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        let option = line.rsplit(' ').next().unwrap();
        let says = said.contains(option) && said.contains("0 is not in 1..");
        assert!(says && said.lines().count() == 1, "{line}: {said}");
    }
}
