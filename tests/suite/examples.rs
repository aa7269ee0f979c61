//! The examples beside naive computations of the same answers, on real logs if `../shared/data` is there
//! and on the small ones in `examples/data` otherwise.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Parser;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rivus::{EnvironmentBuilder, RocksDbBackend, StreamEnvironment};

use crate::written::csv_lines;

#[allow(dead_code)] // its `main`
#[path = "../../examples/daily_pv_uv.rs"]
pub(crate) mod daily_pv_uv;
#[allow(dead_code)] // its `main`
#[path = "../../examples/fraud_rules.rs"]
pub(crate) mod fraud_rules;
#[allow(dead_code)] // its `main`
#[path = "../../examples/own_connectors.rs"]
mod own_connectors;
#[path = "../../examples/world/screen.rs"]
mod screen;
#[allow(dead_code)] // its `main`
#[path = "../../examples/ssh_bruteforce.rs"]
pub(crate) mod ssh_bruteforce;
#[allow(dead_code)] // its `main`
#[path = "../../examples/top_pages.rs"]
pub(crate) mod top_pages;
#[allow(dead_code)] // its `main`
#[path = "../../examples/word_count.rs"]
pub(crate) mod word_count;

const MINUTE: i64 = 60_000;

/// The small log of the project, and the real one where it is.
pub(crate) fn logs(name: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let both = [root.join("examples/data"), root.join("../shared/data")];
    let both = both.map(|dir| dir.join(name));
    assert!(both[0].exists(), "the project's own log is there");
    both.into_iter().filter(|log| log.exists()).collect()
}

fn arguments<A: Parser>(line: &str, log: &Path) -> A {
    let words = ["example", log.to_str().unwrap()];
    A::try_parse_from(words.into_iter().chain(line.split_whitespace())).unwrap()
}

/// With two subtasks keyed state is kept over RocksDB, and checkpoints are made of its files; with other numbers of them in memory.
pub(crate) fn environment(parallelism: u32) -> StreamEnvironment {
    builder(parallelism).build()
}

fn builder(parallelism: u32) -> EnvironmentBuilder {
    let builder = StreamEnvironment::builder().parallelism(parallelism);
    match parallelism {
        2 => {
            let rocks = RocksDbBackend::new(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let rocks = rocks.memory(1 << 20).files_from(0);
            let builder = builder.checkpoint_interval(Duration::from_millis(50));
            builder.state_backend(rocks)
        }
        _ => builder,
    }
}

fn text(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap().to_string()
}

fn civil(ms: i64) -> String {
    text(ms).trim_end_matches('Z').to_owned()
}

fn millis(format: &str, time: &str) -> i64 {
    let at = DateTime::strptime(format, time).unwrap();
    let at = at.to_zoned(TimeZone::UTC).unwrap();
    at.timestamp().as_millisecond()
}

#[tokio::test]
async fn words_are_counted_at_every_parallelism() {
    let mut naive = BTreeMap::new();
    for word in word_count::TEXT.split(|letter: char| !letter.is_alphabetic()) {
        *naive.entry(word.to_lowercase()).or_insert(0_u64) += 1;
    }
    naive.remove("");
    for parallelism in ["1", "3"] {
        let args = ["word_count", "--parallelism", parallelism];
        let args = word_count::Args::try_parse_from(args).unwrap();
        let counted = word_count::word_count(&args).await.unwrap();
        assert_eq!(counted[0], ("the".to_owned(), 12));
        assert!(counted.is_sorted_by_key(|(word, count)| (u64::MAX - count, word.clone())));
        assert_eq!(BTreeMap::from_iter(counted), naive);
    }
}

/// Every window's pages, ranked: each request is looked at anew for each window.
fn naive_top_pages(log: &str, size: i64, slide: i64, top: usize) -> Vec<top_pages::Ranked> {
    let requests: Vec<(i64, &str)> = log
        .lines()
        .filter(|line| line.contains(" +0000 "))
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (millis("%d/%m/%Y:%H:%M:%S", words[3]), words[6])
        })
        .collect();
    let first = requests.iter().map(|(at, _)| *at).min().unwrap();
    let last = requests.iter().map(|(at, _)| *at).max().unwrap();
    let mut rows = Vec::new();
    let mut start = (first - size).div_euclid(slide) * slide;
    while start <= last {
        let mut views: BTreeMap<&str, u64> = BTreeMap::new();
        for (at, path) in &requests {
            if (start..start + size).contains(at) {
                *views.entry(path).or_default() += 1;
            }
        }
        let mut pages: Vec<_> = views.into_iter().collect();
        pages.sort_by_key(|(path, views)| (u64::MAX - views, *path));
        for (at, (path, views)) in pages.into_iter().take(top).enumerate() {
            rows.push((text(start), at + 1, path.to_owned(), views));
        }
        start += slide;
    }
    rows
}

#[tokio::test]
async fn top_pages_are_those_of_a_naive_computation() {
    for log in logs("apache_access.log") {
        let lines = std::fs::read_to_string(&log).unwrap();
        let expected = naive_top_pages(&lines, 60 * MINUTE, 20 * MINUTE, 3);
        assert!(expected.len() > 10, "the log is too small to show anything");
        for parallelism in [1, 2, 3] {
            let args = arguments("--size 1h --slide 20m --top 3", &log);
            let env = environment(parallelism);
            let found = top_pages::top_pages(&env, &args).collect();
            env.execute("top pages").await.unwrap();
            let mut found = found.values();
            found.sort();
            assert_eq!(found, expected, "{} at {parallelism}", log.display());
        }
    }
}

/// Addresses' failures by time; then a walk over each: a burst begins after `within` without a failure.
fn naive_bursts(log: &str, threshold: u64, within: i64) -> Vec<String> {
    let mut failures: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for line in log
        .lines()
        .filter(|line| line.contains("Failed password for"))
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        let time = ["2023", words[0], words[1], words[2]].join(" ");
        let times = match words.iter().position(|word| *word == "repeated") {
            Some(at) => words[at + 1].parse().unwrap(),
            None => 1,
        };
        // ... ADDRESS port PORT ssh2
        let address = words[words.len() - 4].to_owned();
        let at = millis("%Y %b %d %H:%M:%S", &time);
        failures.entry(address).or_default().extend(vec![at; times]);
    }
    let mut bursts = Vec::new();
    for (address, mut times) in failures {
        times.sort_unstable();
        let mut reported = false;
        for at in BTreeSet::from_iter(&times) {
            let quiet = |since: &i64| times.iter().all(|other| other >= at || other < since);
            if quiet(&(at - within)) {
                reported = false;
            }
            let recent = times
                .iter()
                .filter(|other| (at - within..=*at).contains(other));
            let (count, first) = (recent.clone().count() as u64, recent.min().unwrap());
            if count >= threshold && !reported {
                reported = true;
                let [at, first] = [at, first].map(|ms| civil(*ms));
                bursts.push(format!("{at} {address} failed {count} times since {first}"));
            }
        }
    }
    bursts.sort();
    bursts
}

#[tokio::test]
async fn bursts_of_failed_logins_are_those_of_a_naive_computation() {
    for log in logs("openssh_auth.log") {
        let lines = std::fs::read_to_string(&log).unwrap();
        for (threshold, seconds) in [(5, 60), (3, 600), (2, 10), (1, 60)] {
            let expected = naive_bursts(&lines, threshold, seconds * 1_000);
            assert!(
                !expected.is_empty(),
                "the log is too quiet to show anything"
            );
            for parallelism in [1, 2, 3] {
                let line = format!("--threshold {threshold} --within {seconds}s");
                let args = arguments(&line, &log);
                let env = environment(parallelism);
                let found = ssh_bruteforce::bursts(&env, &args).collect();
                env.execute("ssh bruteforce").await.unwrap();
                let mut found = found.values();
                found.sort();
                assert_eq!(found, expected, "{} {line}", log.display());
            }
        }
    }
}

/// Every payment is looked at anew, with the rules as they stood at its time.
fn naive_alerts(payments: &[fraud_rules::payments::Payment], rules: &str) -> Vec<String> {
    let instant = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let rules = rules
        .lines()
        .map(|line| line.split(',').collect::<Vec<_>>());
    let rules: Vec<(i64, Vec<&str>)> = rules.map(|rule| (instant(rule[0]), rule)).collect();
    let names = BTreeSet::from_iter(rules.iter().map(|(_, rule)| rule[1]));
    let moments = BTreeSet::from_iter(payments.iter().map(|payment| (payment.at, payment.card)));
    let mut alerts = Vec::new();
    for (at, card) in moments {
        for name in &names {
            let versions = rules.iter().rev();
            let version = versions
                .filter(|(from, rule)| *from <= at && rule[1] == *name)
                .map(|(_, rule)| rule)
                .next();
            let Some([_, _, cents, within]) = version.map(|rule| &rule[..]) else {
                continue;
            };
            let Ok(cents) = cents.parse::<u64>() else {
                continue; // withdrawn
            };
            let within = humantime::parse_duration(within).unwrap().as_millis() as i64;
            let recent = payments.iter().filter(|payment| {
                payment.card == card && payment.at <= at && at - payment.at < within
            });
            let spent: u64 = recent.map(|payment| payment.cents).sum();
            if spent > cents {
                let at = text(at);
                alerts.push(format!(
                    "{at} card {card} spent {spent}: {name} allows {cents}"
                ));
            }
        }
    }
    alerts.sort();
    alerts
}

#[tokio::test]
async fn payments_meet_the_rules_of_their_time() {
    let log = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/fraud_rules.csv");
    let rules = std::fs::read_to_string(&log).unwrap();
    for seed in 0..3 {
        let line = format!("--payments 2000 --seed {seed}");
        let args: fraud_rules::Args = arguments(&line, &log);
        let env = environment(1);
        let payments = env.from_source(args.payments.source()).collect();
        env.execute("payments").await.unwrap();
        let expected = naive_alerts(&payments.values(), &rules);
        for rule in ["large allows 50000", "burst allows 20000", "hour allows"] {
            let met = |alert: &String| alert.contains(rule);
            assert!(expected.iter().any(met), "seed {seed}: {rule} is never met");
        }
        for parallelism in [1, 2, 3] {
            let env = environment(parallelism);
            let found = fraud_rules::alerts(&env, &args).collect();
            env.execute("fraud rules").await.unwrap();
            let mut found = found.values();
            found.sort();
            assert_eq!(found, expected, "seed {seed} at {parallelism}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_is_changed_while_the_job_runs_holds_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, lines: &str| {
        std::fs::write(dir.path().join(name), lines).unwrap();
    };
    put("first.csv", "2024-03-01T11:00:00Z,large,150000,1s\n");
    let args: fraud_rules::Args = arguments("--payments 1000000 --rate 20", dir.path());
    let env = StreamEnvironment::builder()
        .runtime(rivus::RuntimeMode::Current)
        .parallelism(1)
        .build();
    let found = fraud_rules::alerts(&env, &args).collect();
    let job = env.start("fraud rules").await.unwrap();
    let seen = async |count: usize, text: &str| {
        let is_seen = |alert: &&String| alert.contains(text);
        while found.values().iter().filter(is_seen).count() < count {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    seen(3, "large allows 150000").await;
    put("no.csv", "no rule\n"); // shown, and left out
    put("stricter.csv", "2024-03-01T11:00:01Z,large,50000,1s\n");
    seen(3, "large allows 50000").await;
    put(
        "withdrawn.csv",
        "2024-03-01T11:00:02Z,large,,\n2024-03-01T11:00:02Z,any,0,1s\n",
    );
    seen(3, "any allows 0").await;
    put("_DONE", "");
    job.cancel();
    let mut versions: Vec<String> = found.values();
    for alert in &mut versions {
        *alert = alert.split_once(": ").unwrap().1.to_owned();
    }
    versions.dedup();
    let in_order = ["large allows 150000", "large allows 50000", "any allows 0"];
    assert_eq!(versions, in_order, "each until the next one");
}

/// For each slice's end all views of the day before it, counted anew.
fn naive_days(log: &str, every: i64, hours_east: i64) -> Vec<String> {
    let east = hours_east * 60 * MINUTE;
    let views: Vec<(i64, &str)> = log
        .lines()
        .filter(|line| line.contains(" +0000 "))
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (millis("%d/%m/%Y:%H:%M:%S", words[3]) + east, words[0])
        })
        .collect();
    let day = |at: i64| at - at.rem_euclid(24 * 60 * MINUTE);
    let ends = views.iter().map(|(at, _)| {
        let slice = (at - day(*at)) / every;
        let end = day(*at) + (slice + 1) * every;
        (day(*at), end.min(day(*at) + 24 * 60 * MINUTE))
    });
    let mut rows = Vec::new();
    for (midnight, until) in BTreeSet::from_iter(ends) {
        let views = views
            .iter()
            .filter(|(at, _)| (midnight..until).contains(at));
        let visitors = BTreeSet::from_iter(views.clone().map(|(_, who)| who));
        let (views, visitors) = (views.count(), visitors.len());
        let [midnight, until] = [midnight, until].map(civil);
        rows.push(format!("{midnight},{until},{views},{visitors}"));
    }
    rows.sort();
    rows
}

#[tokio::test]
async fn views_and_visitors_since_midnight_are_those_of_a_naive_computation() {
    for log in logs("apache_access.log") {
        let lines = std::fs::read_to_string(&log).unwrap();
        // Midnight within the log; and an hour further west, with a last slice that midnight cuts off.
        for (minutes, hours_east) in [(10, 0), (7, -1)] {
            let expected = naive_days(&lines, minutes * MINUTE, hours_east);
            let days = BTreeSet::from_iter(expected.iter().map(|row| row.split(',').next()));
            assert!(days.len() > 1, "the log must go over midnight");
            for parallelism in [1, 2, 3] {
                let dir = tempfile::tempdir().unwrap();
                let out = dir.path().display();
                let line = format!("--every {minutes}m --utc-offset {hours_east} --out {out}");
                let env = environment(parallelism);
                daily_pv_uv::daily(&env, &arguments(&line, &log));
                env.execute("daily").await.unwrap();
                assert_eq!(csv_lines(dir.path()), expected, "{} {line}", log.display());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn views_that_come_too_late_are_counted_by_their_day() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("access.log");
    let times = [
        "01/05/2015:23:59:00",
        "02/05/2015:00:01:00",
        "02/05/2015:03:00:00",
    ];
    let late = [
        "01/05/2015:23:58:00",
        "02/05/2015:00:02:00",
        "02/05/2015:00:03:00",
    ];
    let line = |time: &&str| format!("10.0.0.1 - - {time} +0000 GET /\n");
    let lines: String = times.iter().chain(&late).map(line).collect();
    std::fs::write(&log, lines).unwrap();
    let out = dir.path().join("out");
    // Each line waits for the one before to be worked on.
    let args = arguments(&format!("--rate 1 --out {}", out.display()), &log);
    let env = StreamEnvironment::builder()
        .runtime(rivus::RuntimeMode::Current)
        .build();
    daily_pv_uv::daily(&env, &args);
    env.execute("daily").await.unwrap();
    let days = [
        "2015-05-01T00:00:00,2015-05-02T00:00:00,1,1",
        "2015-05-02T00:00:00,2015-05-02T00:10:00,1,1",
        "2015-05-02T00:00:00,2015-05-02T03:10:00,2,1",
    ];
    assert_eq!(csv_lines(&out), days);
    let late = [
        "2015-05-01T00:00:00,1",
        "2015-05-02T00:00:00,1",
        "2015-05-02T00:00:00,2",
    ];
    assert_eq!(csv_lines(&out.join("late")), late);
}

#[tokio::test]
async fn views_and_visitors_are_the_same_across_a_savepoint() {
    let log = logs("apache_access.log").remove(0);
    let expected = naive_days(&std::fs::read_to_string(&log).unwrap(), 10 * MINUTE, 0);
    let dir = tempfile::tempdir().unwrap();
    let (out, state) = (dir.path().join("out"), dir.path().join("state"));
    let line = format!("--rate 200 --out {}", out.display());
    let storage = rivus::Storage::Directory(state);
    let env = |parallelism| builder(parallelism).storage(storage.clone()).build();
    let first = env(3);
    daily_pv_uv::daily(&first, &arguments(&line, &log));
    let mut job = first.start("daily").await.unwrap();
    let emitted = |view: &rivus::JobView| -> u64 {
        let figures = view.subtasks.iter().map(|task| task.figures.records_out);
        figures.sum()
    };
    job.wait_until(|view| emitted(view) >= 100).await.unwrap();
    let savepoint = job.stop_with_savepoint().await.unwrap();
    let before = csv_lines(&out).len();
    let second = env(2);
    daily_pv_uv::daily(&second, &arguments(&line, &log));
    let job = second.from_savepoint(&savepoint);
    job.execute("daily").await.unwrap();
    assert_eq!(csv_lines(&out), expected);
    assert!(
        0 < before && before < expected.len(),
        "{before} rows before"
    );
}

#[tokio::test]
async fn connectors_of_one_s_own_keep_their_contracts_and_lose_no_order() {
    own_connectors::own_connectors().await.unwrap();
}

/// Tells the test below that it is the example whose reader goes away, and what that prints: lines of its own, or by the job that reads
/// the log of this name.
const PRINTS: &str = "RIVUS_TEST_PRINTS";

#[tokio::test]
async fn examples_end_quietly_when_nobody_reads_them_to_the_end() {
    if let Ok(prints) = std::env::var(PRINTS) {
        let done = match prints.as_str() {
            "lines" => screen::show((0..20_000).map(|n| format!("burst {n} of 20000")))
                .map_err(|error| error.to_string()),
            log => {
                let args = arguments("--threshold 1 --within 1s", Path::new(log));
                let env = environment(1);
                ssh_bruteforce::bursts(&env, &args).print();
                screen::unless_closed(env.execute("ssh bruteforce").await)
                    .map_err(|error| error.to_string())
            }
        };
        if let Err(error) = &done {
            eprintln!("Error: {error}");
        }
        // The harness has something to print, too.
        std::process::exit(i32::from(done.is_err()));
    }
    // Much more than a pipe holds.
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("auth.log");
    let failed = |n: u32| {
        let [_, a, b, c] = n.to_be_bytes();
        format!(
            "Feb  9 06:00:10 gate sshd[1]: Failed password for root from 10.{a}.{b}.{c} port 1 ssh2\n"
        )
    };
    std::fs::write(&log, (0..5_000).map(failed).collect::<String>()).unwrap();
    for prints in ["lines", log.to_str().unwrap()] {
        let this = std::env::current_exe().unwrap();
        let mut example = Command::new(this)
            .args(["examples::examples_end_quietly_when_nobody_reads_them_to_the_end"])
            .args(["--exact", "--nocapture"])
            .env(PRINTS, prints)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(example.stdout.take().unwrap()).lines();
        let is_shown = said.any(|line| {
            let line = line.unwrap();
            line.starts_with("burst ") || line.contains("10.0.0.1 failed 1 times")
        });
        assert!(is_shown, "{prints}");
        drop(said);
        let end = example.wait_with_output().unwrap();
        let told = String::from_utf8(end.stderr).unwrap();
        assert!(end.status.success() && told.is_empty(), "{prints}: {told}");
    }
}

#[test]
fn a_wrong_option_is_refused_by_its_name() {
    for line in ["--slide soon", "--top many", "--bogus 1"] {
        let words = ["top_pages", "a.log"].into_iter().chain(line.split(' '));
        let error = top_pages::Args::try_parse_from(words).err().expect(line);
        let first = error.to_string().lines().next().unwrap().to_owned();
        let option = line.split(' ').next().unwrap();
        assert!(
            first.starts_with("error: ") && first.contains(option),
            "{first}"
        );
    }
}

#[tokio::test]
async fn what_no_job_can_do_is_refused_in_one_line() {
    let [log, ..] = &logs("apache_access.log")[..] else {
        panic!("no log")
    };
    let wrong = [
        (1, "--size 0s", "at least one millisecond"),
        (0, "", "give it at least .parallelism(1)"),
    ];
    for (parallelism, line, mend) in wrong {
        let env = environment(parallelism);
        top_pages::top_pages(&env, &arguments(line, log)).collect();
        let error = env.execute("top pages").await.unwrap_err().to_string();
        assert!(error.contains(mend) && !error.contains('\n'), "{error}");
    }
}
