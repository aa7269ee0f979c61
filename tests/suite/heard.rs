//! What a sink that commits nothing hears of leaders that are killed. How long it hears nothing is for the benchmark to judge, on a
//! machine that does nothing else.

use crate::processes::rivus;

#[test]
fn each_record_comes_once_whichever_leader_is_killed_and_no_task_restarts() {
    let mut takeover = rivus();
    takeover.args(["bench", "takeover", "--untimed", "--rate", "50000"]);
    takeover.args(["--kills", "3", "--apart", "2", "--steady", "2"]);
    let output = takeover.output().expect("runs");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    for told in [
        "3 takeovers, 0 restarts",
        "records, each once, in their keys' order",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
}
