//! What every example says of itself with `--help`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};

#[cfg(feature = "parquet")]
use crate::example_services::etl_mask;
use crate::example_services::{embedded_actor, enrich_async};
use crate::examples::{daily_pv_uv, fraud_rules, ssh_bruteforce, top_pages, word_count};

fn commands() -> BTreeMap<&'static str, Command> {
    BTreeMap::from([
        ("daily_pv_uv", daily_pv_uv::Args::command()),
        ("embedded_actor", embedded_actor::Args::command()),
        ("enrich_async", enrich_async::Args::command()),
        #[cfg(feature = "parquet")]
        ("etl_mask", etl_mask::Args::command()),
        ("fraud_rules", fraud_rules::Args::command()),
        ("ssh_bruteforce", ssh_bruteforce::Args::command()),
        ("top_pages", top_pages::Args::command()),
        ("word_count", word_count::Args::command()),
    ])
}

/// The programs among the examples.
fn programs() -> BTreeSet<String> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = fs::read_dir(examples).expect("there are examples");
    let paths = entries.map(|entry| entry.expect("is read").path());
    let is_program = |path: &Path| {
        path.extension().is_some_and(|ending| ending == "rs") || path.join("main.rs").exists()
    };
    let programs = paths.filter(|path| is_program(path));
    let names = programs.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
    names.collect()
}

#[test]
fn every_example_says_what_it_does_and_what_each_of_its_options_is() {
    let mut programs = programs();
    assert!(programs.remove("own_connectors"), "it takes nothing");
    if cfg!(not(feature = "parquet")) {
        programs.remove("etl_mask");
    }
    let commands = commands();
    assert!(programs.iter().eq(commands.keys()), "{programs:?}");
    for (name, mut command) in commands {
        let help = command.render_help().to_string();
        let about = help.lines().next().unwrap_or_default();
        assert!(!about.is_empty() && !about.starts_with("Usage"), "{help}");
        for argument in command.get_arguments() {
            let told = argument.get_help().map(ToString::to_string);
            let is_told = told.is_some_and(|told| !told.is_empty());
            assert!(is_told, "{name}: what is {}?", argument.get_id());
        }
    }
}
