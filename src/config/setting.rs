//! What a setting is.

use std::marker::PhantomData;

use super::value::{Kind, Value};

/// Who heeds a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// `cluster`.
    Cluster,
    /// `jobmanager`.
    #[value(name = "jobmanager")]
    JobManager,
    /// `taskmanager`.
    #[value(name = "taskmanager")]
    TaskManager,
    /// Commands that ask a service, such as `list`.
    Command,
}

impl Role {
    /// As in a command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::JobManager => "jobmanager",
            Self::TaskManager => "taskmanager",
            Self::Command => "command",
        }
    }
}

/// A setting, whose values are `T`s.
pub(crate) struct Setting<T> {
    key: &'static str,
    about: &'static str,
    default: &'static str,
    roles: &'static [Role],
    is_secret: bool,
    values: PhantomData<fn() -> T>,
}

impl<T> Setting<T> {
    /// One that everybody heeds, with no value by default.
    pub(super) const fn new(key: &'static str, about: &'static str) -> Self {
        Self {
            key,
            about,
            default: "",
            roles: &[],
            is_secret: false,
            values: PhantomData,
        }
    }

    /// What holds if nothing is given, as one would write it.
    pub(super) const fn default(mut self, text: &'static str) -> Self {
        self.default = text;
        self
    }

    /// Who heeds it.
    pub(super) const fn roles(mut self, roles: &'static [Role]) -> Self {
        self.roles = roles;
        self
    }

    /// It is never printed, and has no flag: a command line can be read by everybody on the machine.
    pub(super) const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }
}

/// A setting, whatever its values are.
pub(crate) trait Declared: Sync {
    /// Its key in the file, dotted where it stands in a table.
    fn key(&self) -> &'static str;

    /// What it says, in one sentence.
    fn about(&self) -> &'static str;

    /// What holds if nothing is given, as one would write it.
    fn default(&self) -> &'static str;

    /// Who heeds it.
    fn roles(&self) -> &'static [Role];

    /// Whether it is never printed.
    fn is_secret(&self) -> bool;

    /// What its values look like.
    fn expects(&self) -> &'static str;

    /// How its values are written in the file.
    fn kind(&self) -> Kind;

    /// A value in its usual form; none if it is no value.
    fn show(&self, text: &str) -> Option<String>;

    /// Its flag, without dashes in front.
    fn flag(&self) -> String {
        self.key().replace(['.', '_'], "-")
    }

    /// Its variable.
    fn variable(&self) -> String {
        format!("RIVUS_{}", self.key().replace('.', "_").to_uppercase())
    }
}

impl<T: Value> Declared for Setting<T> {
    fn key(&self) -> &'static str {
        self.key
    }

    fn about(&self) -> &'static str {
        self.about.trim_start()
    }

    fn default(&self) -> &'static str {
        self.default
    }

    fn roles(&self) -> &'static [Role] {
        self.roles
    }

    fn is_secret(&self) -> bool {
        self.is_secret
    }

    fn expects(&self) -> &'static str {
        T::EXPECTS
    }

    fn kind(&self) -> Kind {
        T::KIND
    }

    fn show(&self, text: &str) -> Option<String> {
        let shown = T::read(text)?.show();
        let hidden = self.is_secret && !text.is_empty();
        Some(if hidden { "hidden".to_owned() } else { shown })
    }
}
