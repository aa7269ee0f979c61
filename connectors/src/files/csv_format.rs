//! CSV as a source reads it: records out of text, by the names in the file's header or by their order.

use std::marker::PhantomData;

use csv::{ReaderBuilder, StringRecord, Terminator};
use serde::de::DeserializeOwned;

use super::decode::{Header, LineLayout, LineParser};
use super::parsers::CsvLineError;

/// What a CSV file looks like. By default fields are separated by commas, each file's first line names the columns,
/// and a record is one line.
///
/// ```
/// use rivus_connectors::{CsvFormat, TextFileSource};
///
/// #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
/// struct Trade { symbol: String, price: f64 }
///
/// let format = CsvFormat::new().delimiter(b';').multiline();
/// let trades = TextFileSource::glob("trades/*.csv").csv_with::<Trade>(format);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CsvFormat {
    delimiter: u8,
    header: bool,
    multiline: bool,
}

impl CsvFormat {
    /// Commas, a header, a record a line.
    pub fn new() -> Self {
        Self {
            delimiter: b',',
            header: true,
            multiline: false,
        }
    }

    /// Fields are separated by this, such as `b';'` or `b'\t'`.
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// Files have no header: a record's fields are taken by their order.
    pub fn without_header(mut self) -> Self {
        self.header = false;
        self
    }

    /// Quoted fields may hold line ends. Where such a record begins can't be seen from the middle of a file, so
    /// each file is one split, which one subtask reads. Quotes must be used for quoting only, and doubled within
    /// quotes: one that stands alone joins lines up to the next one, or up to
    /// [`max_line_bytes`](crate::FileSource::max_line_bytes).
    pub fn multiline(mut self) -> Self {
        self.multiline = true;
        self
    }

    /// Why it can't be used.
    pub(super) fn refused(self) -> Option<&'static str> {
        match self.delimiter {
            b'"' | b'\n' | b'\r' => Some("the delimiter of a CsvFormat is a quote or a line end"),
            0x80.. => Some("the delimiter of a CsvFormat is not ASCII"),
            _ => None,
        }
    }
}

impl Default for CsvFormat {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads records of a type.
pub(super) struct CsvParser<T> {
    format: CsvFormat,
    of: PhantomData<fn() -> T>,
}

impl<T> CsvParser<T> {
    pub fn new(format: CsvFormat) -> Self {
        Self {
            format,
            of: PhantomData,
        }
    }
}

impl<T: DeserializeOwned> LineParser<T> for CsvParser<T> {
    fn layout(&self) -> LineLayout {
        LineLayout {
            header: self.format.header,
            multiline: self.format.multiline,
        }
    }

    fn refused(&self) -> Option<&'static str> {
        self.format.refused()
    }

    fn header(&self, line: &str) -> Result<Header, String> {
        // What spreadsheets put in front of a file.
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        let columns = fields(line, self.format.delimiter).map_err(|error| error.to_string())?;
        Ok(Header(columns))
    }

    fn parse(&self, line: &str, header: Option<&Header>) -> Result<Option<T>, String> {
        if line.is_empty() {
            return Ok(None);
        }
        let told = |error: CsvLineError| match (header, error) {
            (_, CsvLineError::OpenQuote) if !self.format.multiline => {
                "a quote is not closed: quoted fields that hold line ends are read with \
                 CsvFormat::multiline()"
                    .to_owned()
            }
            (Some(header), CsvLineError::Record(reason)) => {
                format!("{reason}; the header names {}", header.columns())
            }
            (_, error) => error.to_string(),
        };
        let record = fields(line, self.format.delimiter).map_err(told)?;
        let names = header.map(|header| &header.0);
        if let (Some(header), Some(names)) = (header, names)
            && names.len() != record.len()
        {
            let (found, named) = (record.len(), names.len());
            let columns = header.columns();
            return Err(format!(
                "{found} fields where the header names {named}: {columns}"
            ));
        }
        record
            .deserialize(names)
            .map(Some)
            .map_err(|error| told(error.into()))
    }
}

impl Header {
    fn columns(&self) -> String {
        self.0.iter().collect::<Vec<_>>().join(", ")
    }
}

/// The fields of one record.
pub(super) fn fields(line: &str, delimiter: u8) -> Result<StringRecord, CsvLineError> {
    let quotes = memchr::memchr_iter(b'"', line.as_bytes()).count();
    match quotes {
        0 => Ok(unquoted(line, delimiter)),
        _ if quotes % 2 == 1 => Err(CsvLineError::OpenQuote),
        _ => quoted(line, delimiter),
    }
}

/// The common case costs no CSV machine.
fn unquoted(line: &str, delimiter: u8) -> StringRecord {
    let mut record = StringRecord::with_capacity(line.len(), 16);
    line.split(char::from(delimiter))
        .for_each(|field| record.push_field(field));
    record
}

fn quoted(line: &str, delimiter: u8) -> Result<StringRecord, CsvLineError> {
    let mut record = StringRecord::new();
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .delimiter(delimiter)
        // A carriage return within a line is a part of it.
        .terminator(Terminator::Any(b'\n'))
        .flexible(true)
        .buffer_capacity(line.len())
        .from_reader(line.as_bytes());
    reader.read_record(&mut record)?;
    match reader.read_record(&mut StringRecord::new())? {
        true => Err(CsvLineError::StrayQuote),
        false => Ok(record),
    }
}
