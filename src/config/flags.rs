//! Settings on a command line.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command};

use super::declared::ALL;
use super::setting::{Declared, Role};
use super::value::Kind;
use super::{FILE, Given, Origin};

/// Whose flags they are.
pub(crate) trait FlagsOf {
    /// Whether a setting means something to it.
    fn heeds(setting: &dyn Declared) -> bool;
}

macro_rules! flags_of {
    ($($(#[doc = $about:literal])+ $name:ident = $heeds:expr;)+) => {$(
        $(#[doc = $about])+
        #[derive(Debug, Clone)]
        pub(crate) struct $name;

        impl FlagsOf for $name {
            fn heeds(setting: &dyn Declared) -> bool {
                let heeds: fn(&dyn Declared) -> bool = $heeds;
                heeds(setting)
            }
        }
    )+};
}

flags_of! {
    /// Of `cluster`.
    ForCluster = |setting| setting.roles().contains(&Role::Cluster);
    /// Of `jobmanager`.
    ForJobManager = |setting| setting.roles().contains(&Role::JobManager);
    /// Of `taskmanager`.
    ForTaskManager = |setting| setting.roles().contains(&Role::TaskManager);
    /// Of commands that ask a service.
    ForCommand = |setting| setting.roles().contains(&Role::Command);
    /// Of `config show`, which takes everybody's.
    ForShow = |_| true;
    /// Of what looks into a bucket.
    ForBucket = |setting| setting.key().starts_with("s3.");
}

/// What a command line says.
#[derive(Debug, Clone)]
pub(crate) struct Flags<R> {
    file: Option<PathBuf>,
    given: Vec<(&'static str, String)>,
    role: PhantomData<R>,
}

/// The id and the name of the flag for the file.
const CONFIG: &str = "config";

impl<R> Flags<R> {
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    pub(super) fn given(&self) -> Vec<Given> {
        let given = |setting: &&'static dyn Declared| {
            let (_, text) = self.given.iter().find(|(key, _)| *key == setting.key())?;
            Some(Given {
                setting: *setting,
                text: text.clone(),
                typed: None,
                origin: Origin::Flag(setting.flag()),
            })
        };
        ALL.iter().filter_map(given).collect()
    }

    /// The flag of a setting that a role doesn't heed.
    pub(crate) fn beside(&self, role: Role) -> Option<String> {
        let given = self.given();
        let mut settings = given.iter().map(|given| given.setting);
        let other = settings.find(|setting| !setting.roles().contains(&role))?;
        Some(other.flag())
    }
}

fn flags<R: FlagsOf>() -> impl Iterator<Item = &'static dyn Declared> {
    let settings = ALL.iter().copied();
    settings.filter(|setting| R::heeds(*setting) && !setting.is_secret())
}

fn flag(setting: &dyn Declared) -> Arg {
    let default = match setting.default() {
        "" => String::new(),
        text => format!(" [default: {text}]"),
    };
    let help = format!("{} [env: {}]{default}", setting.about(), setting.variable());
    let value = match setting.kind() {
        Kind::Number => "NUMBER",
        Kind::Switch => "true|false",
        Kind::Text => match setting.expects().split_whitespace().nth(1) {
            Some("path") => "PATH",
            Some("duration") => "DURATION",
            Some("size") => "SIZE",
            Some("address") => "ADDRESS",
            _ => "TEXT",
        },
    };
    Arg::new(setting.key())
        .long(setting.flag())
        .value_name(value)
        .help(help)
}

impl<R: FlagsOf> clap::Args for Flags<R> {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help(format!(
                "A file with settings, in TOML; the environment goes before it, and flags before both [env: {FILE}]"
            ));
        command.arg(file).args(flags::<R>().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<R: FlagsOf> clap::FromArgMatches for Flags<R> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |setting: &'static dyn Declared| {
            let text = matches.get_one::<String>(setting.key())?;
            Some((setting.key(), text.clone()))
        };
        Ok(Self {
            file: matches.get_one::<PathBuf>(CONFIG).cloned(),
            given: flags::<R>().filter_map(given).collect(),
            role: PhantomData,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
