//! Ready parsers for `parsed_by`.

use serde::de::DeserializeOwned;
use thiserror::Error;

use super::csv_format::fields;
use super::decode::{Header, LineParser};

/// Why a line is no CSV record of the type.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CsvLineError {
    /// A field that can't become what the type has there, or too few or too many fields.
    #[error("{0}")]
    Record(String),
    /// A field of the type refuses its text.
    #[error("field {number}: {reason}")]
    Field {
        /// Which, from 1.
        number: u64,
        /// What was wrong.
        reason: String,
    },
    /// A quoted field goes on in the next line.
    #[error("a quote is not closed: a record must be one line")]
    OpenQuote,
    /// A quote that quotes nothing has joined two lines.
    #[error("a quote stands in a field that is not quoted: quote the field and double the quote")]
    StrayQuote,
}

/// Reads each line as one JSON value.
///
/// ```
/// use rivus_connectors::{TextFileSource, json_lines};
///
/// #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
/// struct Visit { page: String }
///
/// let visits = TextFileSource::glob("visits/*.json").parsed_by(json_lines::<Visit>());
/// ```
pub fn json_lines<T: DeserializeOwned>()
-> impl Fn(&str) -> Result<T, serde_json::Error> + Clone + Send + Sync + 'static {
    |line| serde_json::from_str(line)
}

/// Reads each line as one JSON value, and passes empty ones.
pub(super) struct JsonParser;

impl<T: DeserializeOwned> LineParser<T> for JsonParser {
    fn parse(&self, line: &str, _header: Option<&Header>) -> Result<Option<T>, String> {
        match line.trim_ascii().is_empty() {
            true => Ok(None),
            false => serde_json::from_str(line).map_err(|error| error.to_string()),
        }
    }
}

/// Reads each line as one CSV record, by the order of the type's fields. A quoted field may hold commas
/// and doubled quotes, but no line end.
///
/// A first line with the fields' names is passed with
/// [`skip_header`](crate::FileSource::skip_header); [`csv`](crate::FileSource::csv) reads by those names.
///
/// ```
/// use rivus_connectors::csv_lines;
///
/// #[derive(Debug, PartialEq, serde::Deserialize)]
/// struct Trade { symbol: String, price: f64 }
///
/// let parse = csv_lines::<Trade>();
/// assert_eq!(parse("\"A,B\",1.5")?, Trade { symbol: "A,B".into(), price: 1.5 });
/// assert_eq!(parse("X,dear").unwrap_err().to_string(), "field 2: invalid float literal");
/// # Ok::<(), rivus_connectors::CsvLineError>(())
/// ```
pub fn csv_lines<T: DeserializeOwned>()
-> impl Fn(&str) -> Result<T, CsvLineError> + Clone + Send + Sync + 'static {
    |line| {
        fields(line, b',')?
            .deserialize(None)
            .map_err(CsvLineError::from)
    }
}

impl From<csv::Error> for CsvLineError {
    fn from(error: csv::Error) -> Self {
        match error.into_kind() {
            csv::ErrorKind::Deserialize { err, .. } => {
                let reason = err.kind().to_string();
                match err.field() {
                    Some(index) => Self::Field {
                        number: index + 1,
                        reason,
                    },
                    None => Self::Record(reason),
                }
            }
            kind => Self::Record(format!("{kind:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (String, Option<u32>, String);

    #[test]
    fn csv_lines_with_and_without_quotes_read_the_same() {
        let parse = csv_lines::<Row>();
        let row = |a: &str, b, c: &str| (a.to_owned(), b, c.to_owned());
        assert_eq!(parse("a,1,c").unwrap(), row("a", Some(1), "c"));
        assert_eq!(parse("\"a\",\"1\",c").unwrap(), row("a", Some(1), "c"));
        assert_eq!(parse(",,").unwrap(), row("", None, ""));
        assert_eq!(
            parse("\"\",,\"\"\"x\"\", y\"").unwrap(),
            row("", None, "\"x\", y")
        );
    }

    #[test]
    fn csv_errors_name_the_field() {
        let parse = csv_lines::<(String, u32)>();
        let message = |line| parse(line).unwrap_err().to_string();
        assert_eq!(message("a,b"), "field 2: invalid digit found in string");
        assert_eq!(message("a,\"b\""), "field 2: invalid digit found in string");
        assert_eq!(
            message("\"a,1"),
            "a quote is not closed: a record must be one line"
        );
        assert_eq!(message("a"), "invalid length 1, expected a tuple of size 2");
    }
}
