use std::num::NonZeroU32;
use std::time::Duration;

use rivus_actors::NodeConfig;
use rivus_core::job::JobOptions;

use super::declared::{ALL, CHECKPOINT_INTERVAL, LEASE, NAME, SECRET, SLOTS};
use super::*;
use crate::service::settings::ProcessSettings;

/// What comes of a file, variables and flags.
fn config(file: &str, variables: &[(&str, &str)], flags: &[&str]) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rivus.toml");
    std::fs::write(&path, file).unwrap();
    let variables = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    let words = std::iter::once("config").chain(flags.iter().copied());
    let command = <Flags<ForShow> as clap::Args>::augment_args(clap::Command::new("config"));
    let matches = command.try_get_matches_from(words).unwrap();
    let flags = <Flags<ForShow> as clap::FromArgMatches>::from_arg_matches(&matches).unwrap();
    let dir = format!("{}/", dir.path().display());
    Config::of(Some(&path), flags.given(), variables)
        .map_err(|error| error.to_string().replace(&dir, ""))
}

/// As with [`config`], for what can't be.
fn refused(file: &str, variables: &[(&str, &str)], flags: &[&str]) -> String {
    config(file, variables, flags).err().expect("is refused")
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file_and_that_before_the_default() {
    let layers = [
        ("", None, None, 8, "default"),
        ("slots = 1", None, None, 1, "file"),
        ("slots = 1", Some("2"), None, 2, "environment"),
        ("slots = 1", Some("2"), Some("3"), 3, "flag"),
        ("", Some("2"), Some("3"), 3, "flag"),
        ("slots = 1", None, Some("3"), 3, "flag"),
    ];
    for (file, variable, flag, slots, layer) in layers {
        let variables: Vec<_> = variable
            .map(|value| ("RIVUS_SLOTS", value))
            .into_iter()
            .collect();
        let flags = flag.map_or(Vec::new(), |value| vec!["--slots", value]);
        let config = config(file, &variables, &flags).unwrap();
        assert_eq!(
            config.get(&SLOTS),
            NonZeroU32::new(slots).unwrap(),
            "{file} {variables:?}"
        );
        assert_eq!(config.shown(&SLOTS).1.layer(), layer);
    }
}

#[test]
fn what_a_higher_layer_takes_away_is_gone() {
    let file = "name = \"left\"\ncheckpoint.interval = \"5s\"";
    let given = config(file, &[], &[]).unwrap();
    assert_eq!(given.get(&NAME).as_deref(), Some("left"));
    assert_eq!(
        given.get(&CHECKPOINT_INTERVAL),
        Some(Duration::from_secs(5))
    );
    let without = config(
        file,
        &[("RIVUS_NAME", "")],
        &["--checkpoint-interval", "none"],
    )
    .unwrap();
    assert_eq!(without.get(&NAME), None);
    assert_eq!(without.get(&CHECKPOINT_INTERVAL), None);
}

#[test]
fn where_a_value_is_from_is_told_by_line_variable_or_flag() {
    let file = "# a comment\nlease = '1s'\n\n[checkpoint]\n# another\ninterval = \"500ms\"\n";
    let config = config(file, &[("RIVUS_NAME", "left")], &["--slots", "4"]).unwrap();
    let at = |setting: &dyn Declared| {
        let (value, origin) = config.shown(setting);
        let origin = origin.to_string();
        let (_, file) = origin.rsplit_once('/').unwrap_or(("", &origin));
        format!("{value} {file}")
    };
    assert_eq!(at(&LEASE), "1s rivus.toml:2");
    assert_eq!(at(&CHECKPOINT_INTERVAL), "500ms rivus.toml:6");
    assert_eq!(at(&NAME), "left RIVUS_NAME");
    assert_eq!(at(&SLOTS), "4 --slots");
    assert_eq!(at(&SECRET), "none default");
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_known_one() {
    let all = "The command `config show` lists all";
    let table = [
        (
            refused("slots = 1\nheartbeat-timeout = \"3s\"", &[], &[]),
            "rivus.toml:2: there is no setting heartbeat-timeout: did you mean heartbeat_timeout?",
        ),
        (
            refused("[chekpoint]\ninterval = \"3s\"", &[], &[]),
            "rivus.toml:2: there is no setting chekpoint.interval: did you mean checkpoint.interval?",
        ),
        (
            refused("[checkpoint]\nlease = \"3s\"\n", &[], &[]),
            "rivus.toml:2: there is no setting checkpoint.lease: did you mean checkpoint.pause?",
        ),
        (
            refused("[ectd]\n", &[], &[]),
            "rivus.toml:1: there is no setting ectd: did you mean etcd?",
        ),
        (
            refused("", &[("PATH", "/"), ("RIVUS_SLOT", "4")], &[]),
            "there is no variable RIVUS_SLOT: did you mean RIVUS_SLOTS?",
        ),
        (
            refused("", &[("RIVUS_CONFG", "rivus.toml")], &[]),
            "there is no variable RIVUS_CONFG: did you mean RIVUS_CONFIG?",
        ),
    ];
    for (told, expected) in table {
        assert_eq!(told, format!("{expected} {all}"));
    }
}

#[test]
fn a_wrong_type_or_value_is_refused_with_its_place_and_what_was_expected() {
    let duration = "expected a duration such as 10s or 500ms";
    let table = [
        (
            refused("slots = 1\n\nlease = 10", &[], &[]),
            format!("rivus.toml:3: lease is 10: {duration}, in quotes"),
        ),
        (
            refused("lease = \"soon\"", &[], &[]),
            format!("rivus.toml:1: lease is \"soon\": {duration}, in quotes"),
        ),
        (
            refused("slots = \"4\"", &[], &[]),
            "rivus.toml:1: slots is \"4\": expected a whole number above 0, without quotes".into(),
        ),
        (
            refused("slots = 0", &[], &[]),
            "rivus.toml:1: slots is 0: expected a whole number above 0, without quotes".into(),
        ),
        (
            refused("slots = [1]", &[], &[]),
            "rivus.toml:1: slots is an array: expected a whole number above 0, without quotes"
                .into(),
        ),
        (
            refused("[storage]\npath = \"state\"", &[], &[]),
            "rivus.toml:1: storage is a table: expected text, in quotes".into(),
        ),
        (
            refused("rocksdb = \"rows\"", &[], &[]),
            "rivus.toml:1: rocksdb is a string: expected a table of settings: write [rocksdb] and them below it"
                .into(),
        ),
        (
            refused("local_recovery = \"yes\"", &[], &[]),
            "rivus.toml:1: local_recovery is \"yes\": expected true or false, without quotes".into(),
        ),
        (
            refused("[rocksdb]\nmemory = 64", &[], &[]),
            "rivus.toml:2: rocksdb.memory is 64: expected a size such as 64MiB or 512KiB, in quotes".into(),
        ),
        (
            refused("", &[("RIVUS_LEASE", "3")], &[]),
            format!("RIVUS_LEASE: lease is \"3\": {duration}"),
        ),
        (
            refused("", &[], &["--lease", "3"]),
            format!("--lease: lease is \"3\": {duration}"),
        ),
        // What is overridden is looked at all the same.
        (
            refused("slots = -1", &[], &["--slots", "1"]),
            "rivus.toml:1: slots is -1: expected a whole number above 0, without quotes".into(),
        ),
    ];
    for (told, expected) in table {
        assert_eq!(told, expected);
    }
}

#[test]
fn a_file_that_is_none_is_refused_by_its_line() {
    let told = refused("lease = \"1s\"\nlease = \"2s\"\n", &[], &[]);
    assert_eq!(told, "rivus.toml:2: it is no TOML: duplicate key");
    let told = refused("lease = 1s\n", &[], &[]);
    assert!(told.starts_with("rivus.toml:1: it is no TOML: "), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    let nowhere = file::read("--config", Path::new("/nowhere/rivus.toml"));
    let told = nowhere.err().unwrap().to_string();
    assert!(
        told.starts_with("--config /nowhere/rivus.toml: No such file"),
        "{told}"
    );
}

#[test]
fn a_secret_is_never_told() {
    let secret = "correct horse battery staple";
    let variables = [("RIVUS_SECRET", secret), ("RIVUS_ETCD_PASSWORD", secret)];
    let file = format!("s3.secret_key = {secret:?}");
    let config = config(&file, &variables, &[]).unwrap();
    for setting in ALL {
        let (shown, origin) = config.shown(*setting);
        assert!(!format!("{shown}{origin}").contains(secret));
        let told = config.refuse(*setting, "no").to_string();
        assert!(!told.contains(secret), "{told}");
    }
    assert_eq!(config.shown(&SECRET).0, "hidden");
    let numbers = "123456789";
    for told in [
        refused("secret = 123456789", &[], &[]),
        refused("secret = \"two\\nlines\"", &[], &[]),
        refused("", &[("RIVUS_SECRT", numbers)], &[]),
        refused("secret = 123456789 x", &[], &[]),
    ] {
        assert!(!told.contains(numbers) && !told.contains("lines"), "{told}");
    }
}

#[test]
fn every_setting_has_one_key_one_flag_and_a_default_that_holds() {
    let mut names = std::collections::BTreeSet::new();
    for setting in ALL {
        assert!(
            names.insert(setting.flag()) && names.insert(setting.variable()),
            "{}",
            setting.key()
        );
        assert!(
            setting.show(setting.default()).is_some(),
            "{}",
            setting.key()
        );
        assert!(!setting.roles().is_empty() && !setting.about().is_empty());
        let within = format!("{}.", setting.key());
        assert!(
            ALL.iter().all(|other| !other.key().starts_with(&within)),
            "{within}"
        );
    }
}

#[test]
fn defaults_are_those_of_the_library() {
    let config = config("", &[], &[]).unwrap();
    let settings = ProcessSettings::of(&config, Role::Cluster).unwrap();
    assert_eq!(settings.options, JobOptions::default());
    let expected = NodeConfig {
        slots: 8,
        ..NodeConfig::default()
    };
    assert_eq!(format!("{:?}", settings.node), format!("{expected:?}"));
}

#[test]
fn settings_that_need_each_other_are_asked_for() {
    let of = |file: &str| {
        let config = config(file, &[], &[]).unwrap();
        let refused = ProcessSettings::of(&config, Role::TaskManager);
        let told = refused.err().expect("is refused").to_string();
        told.rsplit_once("rivus.toml")
            .expect("names its place")
            .1
            .to_owned()
    };
    let table = [
        (
            of("coordination = 'etcd://a:1'\netcd.user = 'ann'"),
            ":2: etcd.user: ann: it needs etcd.password beside it: give that too",
        ),
        (
            of("coordination = 'leaders'\nstorage = 's3://b'\ns3.secret_key = 'hush'"),
            ":3: s3.secret_key: it needs s3.access_key beside it: give that too",
        ),
        (
            of("storage = 's3://b'"),
            ":1: storage: s3://b: it can't elect a leader: give coordination too, a directory of this machine or \
             etcd://HOST:PORT",
        ),
        (
            of("secret = '0123456789abcdef'\nsecret_file = 'secret'"),
            ":1: secret: there is a secret_file too: leave one of them out",
        ),
    ];
    for (told, expected) in table {
        assert_eq!(told, expected);
    }
}

#[test]
fn the_page_about_settings_is_up_to_date() {
    let page = include_str!("../../docs/configuration.md");
    assert!(
        page == reference(),
        "run: cargo run -- config reference > docs/configuration.md"
    );
}

#[test]
fn the_files_in_the_guide_hold() {
    let mut read = 0;
    for page in [
        include_str!("../../docs/guide/configuration.md"),
        include_str!("../../docs/guide/several-processes.md"),
    ] {
        for rest in page.split("```toml\n").skip(1) {
            let (file, _) = rest.split_once("```").expect("ends");
            read += 1;
            if let Err(told) = config(file, &[], &[]) {
                panic!("{told}");
            }
        }
    }
    assert!(read > 0);
}
