//! Settings in the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::declared::ALL;
use super::setting::Declared;
use super::{ConfigError, FILE, Given, Origin, nearest};

/// What the environment says.
#[derive(Default)]
pub(super) struct Environment {
    pub(super) file: Option<PathBuf>,
    pub(super) given: Vec<Given>,
}

/// Reads the variables that are meant for us, and refuses the ones that seem so and aren't.
pub(super) fn read(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Environment, ConfigError> {
    let known: BTreeMap<String, &'static dyn Declared> = ALL
        .iter()
        .map(|setting| (setting.variable(), *setting))
        .collect();
    let mut environment = Environment::default();
    // In the order of their names, so that of two mistakes it is always the same that is told.
    let variables: BTreeMap<OsString, OsString> = variables.collect();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with("RIVUS_")) else {
            continue;
        };
        if name == FILE {
            environment.file = (!value.is_empty()).then(|| PathBuf::from(value));
            continue;
        }
        let Some(setting) = known.get(name) else {
            if is_of_kubernetes(name) {
                continue;
            }
            let names = known.keys().map(String::as_str).chain([FILE]);
            return Err(ConfigError::Unknown {
                place: String::new(),
                what: "variable",
                wanted: name.to_owned(),
                nearest: nearest(name, names).to_owned(),
            });
        };
        let text = value.into_string().map_err(|_| ConfigError::Unreadable {
            place: name.to_owned(),
            problem: "it is no UTF-8".to_owned(),
        })?;
        environment.given.push(Given {
            setting: *setting,
            text,
            typed: None,
            origin: Origin::Variable(name.to_owned()),
        });
    }
    Ok(environment)
}

/// Kubernetes tells every container where all services are, those whose names begin with `rivus` too.
fn is_of_kubernetes(name: &str) -> bool {
    let is_port = |rest: &str| {
        let mut words = rest.split('_');
        let number = words.next().unwrap_or_default();
        let kind = words.next().unwrap_or_default();
        number.parse::<u16>().is_ok() && ["TCP", "UDP", "SCTP"].contains(&kind)
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_PORT")
        || name.contains("_SERVICE_PORT_")
        || name
            .split_once("_PORT_")
            .is_some_and(|(_, rest)| is_port(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_says_of_its_services_is_not_for_us() {
        for name in [
            "RIVUS_SERVICE_HOST",
            "RIVUS_SERVICE_PORT",
            "RIVUS_JOBMANAGER_SERVICE_PORT_HTTP",
            "RIVUS_PORT",
            "RIVUS_PORT_7878_TCP",
            "RIVUS_JOBMANAGER_PORT_7878_TCP_ADDR",
        ] {
            assert!(is_of_kubernetes(name), "{name}");
        }
        for name in ["RIVUS_SLOT", "RIVUS_PORT_OF_CALL", "RIVUS_HOST"] {
            assert!(!is_of_kubernetes(name), "{name}");
        }
    }
}
