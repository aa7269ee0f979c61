//! Settings in a file, in TOML.

use std::path::Path;

use toml_edit::{Document, Item, TableLike, Value};

use super::declared::ALL;
use super::setting::Declared;
use super::value::Kind;
use super::{ConfigError, Given, Origin, nearest};

/// Reads the file that a flag or a variable names.
pub(super) fn read(from: &'static str, path: &Path) -> Result<Vec<Given>, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        from,
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

/// Reads what stands in a file.
pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Given>, ConfigError> {
    let mut file = File {
        path,
        text,
        given: Vec::new(),
    };
    let document = Document::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        // What stands there may be a secret: only what is wrong with it is told.
        let words: Vec<&str> = error.message().split_whitespace().collect();
        ConfigError::Unreadable {
            place: file.place(at).to_string(),
            problem: format!("it is no TOML: {}", words.join(" ")),
        }
    })?;
    file.table(document.as_table(), "")?;
    Ok(file.given)
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
    given: Vec<Given>,
}

impl File<'_> {
    /// The line that a byte stands in.
    fn place(&self, byte: usize) -> Origin {
        let before = self.text.as_bytes().iter().take(byte);
        Origin::File {
            path: self.path.to_owned(),
            line: 1 + before.filter(|byte| **byte == b'\n').count(),
        }
    }

    fn table(&mut self, table: &dyn TableLike, within: &str) -> Result<(), ConfigError> {
        for (name, item) in table.iter() {
            let key = format!("{within}{name}");
            let span = table.key(name).and_then(|key| key.span());
            let origin = self.place(span.map_or(0, |span| span.start));
            let group = format!("{key}.");
            let is_group = ALL.iter().any(|setting| setting.key().starts_with(&group));
            match (
                ALL.iter().find(|setting| setting.key() == key),
                item.as_table_like(),
            ) {
                (Some(setting), _) => self.given.push(given(*setting, item, origin)?),
                (None, Some(table)) if is_group || !table.is_empty() => {
                    self.table(table, &group)?
                }
                (None, None) if is_group => {
                    return Err(ConfigError::Wrong {
                        place: origin.to_string(),
                        given: what(item),
                        expected: format!("a table of settings: write [{key}] and them below it"),
                        key,
                    });
                }
                (None, _) => {
                    let groups = ALL
                        .iter()
                        .filter_map(|setting| setting.key().split_once('.'));
                    let groups = groups.map(|(group, _)| group);
                    let keys = ALL.iter().map(|setting| setting.key()).chain(groups);
                    return Err(ConfigError::Unknown {
                        place: format!("{origin}: "),
                        what: "setting",
                        nearest: nearest(&key, keys).to_owned(),
                        wanted: key,
                    });
                }
            }
        }
        Ok(())
    }
}

fn given(
    setting: &'static dyn Declared,
    item: &Item,
    origin: Origin,
) -> Result<Given, ConfigError> {
    let (text, typed) = match item.as_value() {
        Some(Value::String(text)) => (text.value().clone(), Kind::Text),
        Some(Value::Integer(number)) => (number.value().to_string(), Kind::Number),
        Some(Value::Boolean(switch)) => (switch.value().to_string(), Kind::Switch),
        _ => {
            return Err(ConfigError::Wrong {
                place: origin.to_string(),
                key: setting.key().to_owned(),
                given: what(item),
                expected: format!("{}, {}", setting.expects(), setting.kind().written()),
            });
        }
    };
    // Whatever its type, none can be written.
    let is_none = typed == Kind::Text && text == "none";
    let typed = if is_none { setting.kind() } else { typed };
    Ok(Given {
        setting,
        text,
        typed: Some(typed),
        origin,
    })
}

/// What is written, without what it says.
fn what(item: &Item) -> String {
    match item.type_name() {
        name @ ("array" | "array of tables" | "inline table" | "integer") => format!("an {name}"),
        name => format!("a {name}"),
    }
}
