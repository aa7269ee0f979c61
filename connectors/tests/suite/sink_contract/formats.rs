//! What stands in the files.

use std::fs;
use std::path::Path;

use rivus_connectors::{FileSink, RollingPolicy};
use rivus_core::{CheckpointId, Event, Sink, SinkWriter};
use tempfile::TempDir;

use super::{instance, message, named, names};

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Trade {
    symbol: String,
    price: Option<f64>,
}

/// Writes two trades a run, in two runs, and shows the files.
fn trades(of: impl Fn(&Path) -> FileSink<Trade>) -> Vec<(String, String)> {
    let dir = TempDir::new().unwrap();
    let sink = of(dir.path());
    let mut writer = sink.writer(instance(1), None).unwrap();
    let trade = |symbol: &str, price| {
        Event::at(
            0,
            Trade {
                symbol: symbol.to_owned(),
                price,
            },
        )
    };
    writer
        .write(vec![trade("A,B", Some(1.5)), trade("C", None)])
        .unwrap();
    writer.write(vec![trade("D", Some(2.0))]).unwrap();
    for committable in writer.prepare_commit(CheckpointId(1), true).unwrap() {
        sink.committer().unwrap().commit(&committable).unwrap();
    }
    let names = names(dir.path());
    let read = |name: String| {
        (
            name.clone(),
            fs::read_to_string(dir.path().join(name)).unwrap(),
        )
    };
    names.into_iter().map(read).collect()
}

fn files(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files
        .iter()
        .map(|&(name, text)| (named(name, 0), text.to_owned()))
        .collect()
}

#[test]
fn each_format_writes_its_lines_and_each_part_its_header() {
    assert_eq!(
        trades(|dir| FileSink::csv(dir)),
        files(&[("part-#-0-0.csv", "\"A,B\",1.5\nC,\nD,2.0\n")])
    );
    assert_eq!(
        trades(|dir| {
            let two_lines = RollingPolicy {
                max_bytes: 20,
                on_checkpoint: true,
            };
            FileSink::csv_with_header(dir)
                .prefix("t")
                .rolling(two_lines)
        }),
        files(&[
            ("t-#-0-0.csv", "symbol,price\n\"A,B\",1.5\n"),
            ("t-#-0-1.csv", "symbol,price\nC,\nD,2.0\n"),
        ])
    );
    assert_eq!(
        trades(|dir| FileSink::json_lines(dir).extension("json")),
        files(&[(
            "part-#-0-0.json",
            "{\"symbol\":\"A,B\",\"price\":1.5}\n{\"symbol\":\"C\",\"price\":null}\n{\"symbol\":\"D\",\"price\":2.0}\n"
        )])
    );
    assert_eq!(
        trades(|dir| FileSink::lines_with(dir, |trade: &Trade| trade.symbol.clone())),
        files(&[("part-#-0-0.txt", "A,B\nC\nD\n")])
    );
}

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Views {
    page: (String, u16),
    window: Minute,
    value: u64,
}

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Minute {
    start: i64,
    end: i64,
}

#[test]
fn a_header_names_the_fields_of_nested_structs_too() {
    let dir = TempDir::new().unwrap();
    let sink = FileSink::<Views>::csv_with_header(dir.path());
    let mut writer = sink.writer(instance(1), None).unwrap();
    let views = Views {
        page: ("/".to_owned(), 200),
        window: Minute { start: 0, end: 60 },
        value: 7,
    };
    writer.write(vec![Event::at(0, views)]).unwrap();
    writer.prepare_commit(CheckpointId(1), true).unwrap();
    let text = fs::read_to_string(dir.path().join(named(".part-#-0-0-1.inprogress", 0))).unwrap();
    assert_eq!(
        text,
        "page.0,page.1,window.start,window.end,value\n/,200,0,60,7\n"
    );
}

#[test]
fn a_record_whose_fields_have_no_names_gets_no_header_and_says_why() {
    let dir = TempDir::new().unwrap();
    let sink = FileSink::<(String, u64)>::csv_with_header(dir.path());
    let mut writer = sink.writer(instance(1), None).unwrap();
    let message = message(writer.write(vec![Event::at(0, ("a".to_owned(), 1))]));
    assert_eq!(
        message,
        "cannot write the header of a CSV file for a record: its fields have no names: map records to \
         a struct, or use FileSink::csv(..), which writes no header"
    );
}
