//! The job over JSON lines, as one types it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn nexmark(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nexmark"));
    command.arg("lines").args(words).output().expect("it runs")
}

fn figures(words: &[&str]) -> Value {
    let output = nexmark(&[words, &["--json"]].concat());
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("text");
    serde_json::from_str(said.lines().last().expect("a line")).expect("figures")
}

fn rows(directory: &Path) -> Vec<String> {
    let mut rows = Vec::new();
    for entry in std::fs::read_dir(directory).expect("is there") {
        let path = entry.expect("is listed").path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            let text = std::fs::read_to_string(path).expect("text");
            rows.extend(text.lines().map(str::to_owned));
        }
    }
    rows.sort();
    rows
}

#[test]
fn a_job_over_lines_gives_as_many_results_as_a_loop_and_the_same_of_one_file_and_of_two() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let (one, two) = (path("one"), path("two"));
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let foreign = one.join("mine.jsonl");
    std::fs::create_dir(&one).expect("made");
    std::fs::write(&foreign, "{}\n").expect("written");
    // A minute.
    let make = ["make", "--bids", "6k", "--rate", "100"];
    assert!(
        nexmark(&[&make[..], &[&text(&one)]].concat())
            .status
            .success()
    );
    let into_two = ["--files", "2", &text(&two)];
    assert!(nexmark(&[&make[..], &into_two].concat()).status.success());
    assert!(foreign.exists(), "what others have written is left alone");

    for query in ["filter", "slide"] {
        let by_hand = figures(&["loop", query, &text(&one)]);
        let job = figures(&["run", query, &text(&one), "--parser", "serde"]);
        assert_eq!(by_hand["records"], 6_000);
        let both = |name: &str| assert_eq!(by_hand[name], job[name], "{query}: {name}");
        both("records");
        both("results");
    }
    for query in ["filter", "slide", "session", "join"] {
        let [first, second] = [("one", &one), ("two", &two)].map(|(name, input)| {
            let out = path(&format!("{query}-{name}"));
            figures(&["run", query, &text(input), "--out", &text(&out)]);
            rows(&out)
        });
        assert!(!first.is_empty() || query == "join", "{query}");
        assert_eq!(first, second, "{query}");
    }
}

#[test]
fn what_is_no_bid_is_refused_with_its_file_and_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("bids-0.jsonl");
    std::fs::write(&file, "{\"auction\":1}\n").expect("written");
    let input = directory.path().to_str().expect("text");
    for words in [["loop", "filter", input], ["run", "filter", input]] {
        let output = nexmark(&words);
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("bids-0.jsonl"), "{said}");
        assert!(said.contains("bidder"), "{said}");
        assert_eq!(said.trim().lines().count(), 1, "{said}");
    }
    let empty = tempfile::tempdir().expect("a directory");
    let output = nexmark(&["run", "filter", empty.path().to_str().expect("text")]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("have it made by `nexmark lines make`"),
        "{said}"
    );
}
