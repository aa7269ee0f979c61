//! `config`: what holds and where it is from, and which settings there are.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{CommandError, show};
use crate::config::{Config, ConfigError, Declared, Flags, ForShow, Role, declared, reference};

/// What is asked of the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print what holds, and where it is from: by default, a line of the file, a variable, a flag. Secrets are not printed
    Show(ShowArgs),
    /// Print the page of the documentation about all settings, in Markdown
    Reference,
}

/// Whose settings, and what is given beside the environment.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Whose; everybody's if it is not given
    role: Option<Role>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags<ForShow>,
}

/// A setting that holds.
#[derive(Serialize)]
struct Row {
    setting: &'static str,
    /// None if there is no value, or if it is not to be seen.
    value: Option<String>,
    is_secret: bool,
    /// `default`, `file`, `environment` or `flag`.
    from: &'static str,
    /// A file and a line, a variable, or a flag.
    at: Option<String>,
}

impl ConfigCommand {
    pub(super) fn run(self) -> Result<(), CommandError> {
        match self {
            Self::Show(args) => args.run(),
            Self::Reference => {
                show::say(reference().trim_end());
                Ok(())
            }
        }
    }
}

impl ShowArgs {
    fn run(self) -> Result<(), CommandError> {
        if let Some(role) = self.role
            && let Some(flag) = self.flags.beside(role)
        {
            return Err(ConfigError::Unheeded { flag, role }.into());
        }
        let config = Config::read(&self.flags)?;
        let settings = declared::ALL.iter();
        let settings = settings.filter(|setting| {
            let role = self.role;
            role.is_none_or(|role| setting.roles().contains(&role))
        });
        match self.json {
            true => {
                let rows: Vec<Row> = settings.map(|setting| row(&config, *setting)).collect();
                show::one(true, &rows, |_| String::new());
            }
            false => {
                let rows: Vec<[String; 3]> = settings
                    .map(|setting| {
                        let (value, origin) = config.shown(*setting);
                        [
                            setting.key().to_owned(),
                            value.to_owned(),
                            origin.to_string(),
                        ]
                    })
                    .collect();
                show::say(&show::table(["SETTING", "VALUE", "FROM"], &rows));
            }
        }
        Ok(())
    }
}

fn row(config: &Config, setting: &'static dyn Declared) -> Row {
    let (value, origin) = config.shown(setting);
    Row {
        setting: setting.key(),
        value: (!setting.is_secret() && value != "none").then(|| value.to_owned()),
        is_secret: setting.is_secret(),
        from: origin.layer(),
        at: config.is_given(setting).then(|| origin.to_string()),
    }
}
