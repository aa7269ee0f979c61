//! How a process is set up.
//!
//! ```text
//!   --slots 4   before   RIVUS_SLOTS=4   before   slots = 4 in the file   before   the default
//! ```
//!
//! A setting is declared once, in `declared.rs`: its key, what it says, its type, its default and the roles that heed it. Its flag, its
//! variable, its row of `config show` and its entry in `docs/configuration.md` follow from that. Everything that is given is
//! checked, what another layer overrides and what another role heeds too, so a mistake shows where it was made. What is refused
//! is one line that names the place: a line of the file, a variable, a flag. A secret is in none of them.
//!
//! | file | concern |
//! |---|---|
//! | `declared.rs` | all settings |
//! | `setting.rs` | what one is, and what follows from its key |
//! | `value.rs` | durations, sizes and the rest, as people write them |
//! | `file.rs`, `environment.rs`, `flags.rs` | where they are given |
//! | `reference.rs` | the page of the documentation |

pub(crate) mod declared;
mod environment;
mod file;
mod flags;
mod reference;
mod setting;
mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

pub(crate) use self::flags::{
    Flags, ForBucket, ForCluster, ForCommand, ForJobManager, ForShow, ForTaskManager,
};
pub(crate) use self::reference::reference;

pub(crate) use self::setting::{Declared, Role, Setting};
pub(crate) use self::value::{Addresses, HostPort, Value};

/// The variable that names the file.
const FILE: &str = "RIVUS_CONFIG";

/// Why a process can't be set up: one line that names the place and the mend.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file can't be read.
    #[error("{from} {}: {source}", path.display())]
    Read {
        from: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    /// The file is no TOML, or a variable no text.
    #[error("{place}: {problem}")]
    Unreadable { place: String, problem: String },
    /// There is no such setting.
    #[error(
        "{place}there is no {what} {wanted}: did you mean {nearest}? The command `config show` lists all"
    )]
    Unknown {
        place: String,
        what: &'static str,
        wanted: String,
        nearest: String,
    },
    /// A setting is not what it has to be.
    #[error("{place}: {key} is {given}: expected {expected}")]
    Wrong {
        place: String,
        key: String,
        given: String,
        expected: String,
    },
    /// A flag is given that means nothing to a role.
    #[error("--{flag} is no setting of {}: leave it out", role.name())]
    Unheeded { flag: String, role: Role },
    /// A setting is what it has to be, and can't be used.
    #[error("{place}: {problem}")]
    Unfit { place: String, problem: String },
}

impl ConfigError {
    /// Whether it shows without looking further than at what is written.
    pub(crate) fn is_usage(&self) -> bool {
        !matches!(self, Self::Unfit { .. } | Self::Read { .. })
    }
}

/// Where a value is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Variable(String),
    Flag(String),
}

impl Origin {
    /// The layer, in a word.
    pub(crate) fn layer(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File { .. } => "file",
            Self::Variable(_) => "environment",
            Self::Flag(_) => "flag",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// A setting as it was given somewhere.
struct Given {
    setting: &'static dyn Declared,
    text: String,
    /// Its type, where it has one: in the file.
    typed: Option<value::Kind>,
    origin: Origin,
}

/// What holds of one setting.
struct Held {
    text: String,
    /// As it is printed.
    shown: String,
    origin: Origin,
}

/// What holds, and where it is from.
pub(crate) struct Config {
    held: BTreeMap<&'static str, Held>,
}

impl Config {
    /// Puts together what is given: in a file, in the environment, by flags.
    pub(crate) fn read<R>(flags: &Flags<R>) -> Result<Self, ConfigError> {
        Self::of(flags.file(), flags.given(), std::env::vars_os())
    }

    fn of(
        file: Option<&Path>,
        flags: Vec<Given>,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let environment = environment::read(variables)?;
        let by_file = match (file, &environment.file) {
            (Some(path), _) => file::read("--config", path)?,
            (None, Some(path)) => file::read(FILE, path)?,
            (None, None) => Vec::new(),
        };
        let defaults = declared::ALL.iter().map(|setting| Given {
            setting: *setting,
            text: setting.default().to_owned(),
            typed: None,
            origin: Origin::Default,
        });
        let layers = defaults
            .chain(by_file)
            .chain(environment.given)
            .chain(flags);
        let mut held = BTreeMap::new();
        for given in layers {
            let key = given.setting.key();
            held.insert(key, given.check()?);
        }
        Ok(Self { held })
    }

    fn held(&self, setting: &dyn Declared) -> &Held {
        &self.held[setting.key()]
    }

    /// What holds of a setting.
    pub(crate) fn get<T: Value>(&self, setting: &'static Setting<T>) -> T {
        let read = T::read(&self.held(setting).text);
        read.expect("it was checked when it came")
    }

    /// As it is printed, and where it is from.
    pub(crate) fn shown(&self, setting: &dyn Declared) -> (&str, &Origin) {
        let held = self.held(setting);
        (&held.shown, &held.origin)
    }

    /// Whether it is not only by default.
    pub(crate) fn is_given(&self, setting: &dyn Declared) -> bool {
        self.held(setting).origin != Origin::Default
    }

    /// A setting can't be used, or not beside the others.
    pub(crate) fn refuse(&self, setting: &dyn Declared, problem: impl fmt::Display) -> ConfigError {
        let held = self.held(setting);
        let key = setting.key();
        ConfigError::Unfit {
            place: match &held.origin {
                Origin::Default => format!("{key} by default"),
                Origin::Flag(_) => held.origin.to_string(),
                origin => format!("{origin}: {key}"),
            },
            problem: match setting.is_secret() {
                true => problem.to_string(),
                false => format!("{}: {problem}", held.shown),
            },
        }
    }
}

impl Given {
    fn check(self) -> Result<Held, ConfigError> {
        let Self {
            setting,
            text,
            typed,
            origin,
        } = self;
        let shown = setting.show(&text);
        match shown {
            Some(shown) if typed.is_none_or(|kind| kind == setting.kind()) => Ok(Held {
                text,
                shown,
                origin,
            }),
            _ => Err(ConfigError::Wrong {
                key: setting.key().to_owned(),
                given: match (setting.is_secret(), typed) {
                    (true, _) => "not that".to_owned(),
                    (false, Some(value::Kind::Number | value::Kind::Switch)) => text,
                    (false, _) => format!("{text:?}"),
                },
                expected: match typed {
                    None => setting.expects().to_owned(),
                    Some(_) => format!("{}, {}", setting.expects(), setting.kind().written()),
                },
                place: origin.to_string(),
            }),
        }
    }
}

/// The known one that is written most like it.
fn nearest<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> &'a str {
    let distance = |known: &&str| strsim::damerau_levenshtein(wanted, known);
    known.min_by_key(distance).unwrap_or_default()
}

#[cfg(test)]
mod tests;
