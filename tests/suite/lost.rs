//! A TaskManager that is killed beside half a gigabyte of state, and a spare. How soon new output comes is for the benchmark to judge, on
//! a machine that does nothing else.

use crate::processes::rivus;

#[test]
fn half_a_gigabyte_of_state_goes_on_at_a_spare_and_what_is_committed_is_right() {
    let mut lost = rivus();
    lost.args(["bench", "lost", "--kills", "1", "--committed"]);
    lost.args(["--keys", "125000", "--value-bytes", "4000"]);
    lost.args(["--rate", "20000", "--bar-ms", "60000"]);
    let output = lost.output().expect("runs");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    for told in [
        "1 restarts",
        "results committed, each once and as it must be: true",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
}
