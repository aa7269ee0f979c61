//! The header of a CSV file: the names of a record's fields, those of nested structs joined by dots.
//!
//! It follows how the `csv` crate lays a record out: structs and tuples inside a record are written field
//! by field, everything else is one column. So a `Windowed` has the columns
//! `key,window.start,window.end,value`; the parts of a tuple are numbered from 0.

use std::fmt::Display;

use serde::Serialize;
use serde::ser::{Impossible, SerializeStruct, SerializeTuple, SerializeTupleStruct, Serializer};
use thiserror::Error;

/// Why a record's columns have no names, and the mend.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct HeaderError(String);

impl serde::ser::Error for HeaderError {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// The names of a record's columns.
pub(super) fn columns<T: Serialize>(record: &T) -> Result<Vec<String>, HeaderError> {
    let mut header = Header::default();
    record.serialize(&mut header)?;
    Ok(header.columns)
}

#[derive(Default)]
struct Header {
    columns: Vec<String>,
    /// The field that is being looked at; empty for the record itself.
    path: String,
}

impl Header {
    fn column(&mut self) -> Result<(), HeaderError> {
        self.named()?;
        self.columns.push(self.path.clone());
        Ok(())
    }

    /// Refuses a record that isn't a struct.
    fn named(&self) -> Result<(), HeaderError> {
        if self.path.is_empty() {
            return Err(HeaderError(
                "its fields have no names: map records to a struct, or use FileSink::csv(..), which \
                 writes no header"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    fn refuse(&self, what: &str) -> HeaderError {
        let path = match self.path.as_str() {
            "" => "the record",
            path => path,
        };
        HeaderError(format!(
            "{path} is {what} and has no fixed columns: map records to a struct without it"
        ))
    }
}

/// A struct or tuple whose fields are being looked at.
struct Fields<'a> {
    header: &'a mut Header,
    /// Number of the next field of a tuple.
    next: usize,
}

impl Fields<'_> {
    fn field<T: ?Sized + Serialize>(&mut self, name: &str, value: &T) -> Result<(), HeaderError> {
        let outer = self.header.path.len();
        if outer > 0 {
            self.header.path.push('.');
        }
        self.header.path.push_str(name);
        value.serialize(&mut *self.header)?;
        self.header.path.truncate(outer);
        Ok(())
    }

    fn part<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), HeaderError> {
        let name = self.next.to_string();
        self.next += 1;
        self.field(&name, value)
    }
}

/// Values that are one column.
macro_rules! one_column {
    ($($method:ident($value:ty),)*) => {
        $(fn $method(self, _: $value) -> Result<(), HeaderError> {
            self.column()
        })*
    };
}

impl<'a> Serializer for &'a mut Header {
    type Ok = ();
    type Error = HeaderError;
    type SerializeSeq = Impossible<(), HeaderError>;
    type SerializeTuple = Fields<'a>;
    type SerializeTupleStruct = Fields<'a>;
    type SerializeTupleVariant = Impossible<(), HeaderError>;
    type SerializeMap = Impossible<(), HeaderError>;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Impossible<(), HeaderError>;

    one_column! {
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_i128(i128),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_u128(u128),
        serialize_f32(f32),
        serialize_f64(f64),
        serialize_char(char),
        serialize_str(&str),
        serialize_bytes(&[u8]),
        serialize_unit_struct(&'static str),
    }

    fn serialize_none(self) -> Result<(), HeaderError> {
        self.column()
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), HeaderError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), HeaderError> {
        self.column()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
    ) -> Result<(), HeaderError> {
        self.column()
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), HeaderError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), HeaderError> {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, HeaderError> {
        Err(self.refuse("a list"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Fields<'a>, HeaderError> {
        self.named()?;
        Ok(Fields {
            header: self,
            next: 0,
        })
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        len: usize,
    ) -> Result<Fields<'a>, HeaderError> {
        self.serialize_tuple(len)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, HeaderError> {
        Err(self.refuse("an enum with fields"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, HeaderError> {
        Err(self.refuse("a map"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields<'a>, HeaderError> {
        Ok(Fields {
            header: self,
            next: 0,
        })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, HeaderError> {
        Err(self.refuse("an enum with fields"))
    }
}

impl SerializeStruct for Fields<'_> {
    type Ok = ();
    type Error = HeaderError;

    fn serialize_field<T: ?Sized + Serialize>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), HeaderError> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), HeaderError> {
        Ok(())
    }
}

impl SerializeTuple for Fields<'_> {
    type Ok = ();
    type Error = HeaderError;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), HeaderError> {
        self.part(value)
    }

    fn end(self) -> Result<(), HeaderError> {
        Ok(())
    }
}

impl SerializeTupleStruct for Fields<'_> {
    type Ok = ();
    type Error = HeaderError;

    fn serialize_field<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), HeaderError> {
        self.part(value)
    }

    fn end(self) -> Result<(), HeaderError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Serialize)]
    struct Window {
        start: i64,
        end: i64,
    }

    #[derive(Serialize)]
    struct Row<K, V> {
        key: K,
        window: Window,
        value: V,
    }

    #[derive(Serialize)]
    struct Id(u64);

    #[derive(Serialize)]
    enum Level {
        Low,
        Measured(f64),
        Between { from: f64 },
    }

    /// The header of a row, or why there is none.
    fn header<K: Serialize, V: Serialize>(key: K, value: V) -> String {
        let window = Window { start: 0, end: 60 };
        match columns(&Row { key, window, value }) {
            Ok(columns) => columns.join(","),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn nested_fields_are_joined_by_dots_and_parts_of_tuples_numbered() {
        let table = [
            (header("a", 1), "key,window.start,window.end,value"),
            (header(Id(7), ()), "key,window.start,window.end,value"),
            (
                header(("a", Id(7)), [1, 2]),
                "key.0,key.1,window.start,window.end,value.0,value.1",
            ),
            (
                header(Level::Low, Some(Window { start: 1, end: 2 })),
                "key,window.start,window.end,value.start,value.end",
            ),
            (
                header(Level::Measured(0.5), None::<u8>),
                "key,window.start,window.end,value",
            ),
        ];
        for (found, expected) in table {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn every_header_has_the_columns_of_its_record() {
        let row = Row {
            key: ("a", Some(Id(7))),
            window: Window { start: 0, end: 60 },
            value: [Level::Low, Level::Measured(0.5)],
        };
        let mut writer = csv::WriterBuilder::new()
            .has_headers(false)
            .from_writer(Vec::new());
        writer.write_record(columns(&row).unwrap()).unwrap();
        // The writer refuses records of different lengths.
        writer.serialize(&row).unwrap();
    }

    #[test]
    fn what_has_no_fixed_names_is_refused_with_the_field_and_the_mend() {
        let mend = "and has no fixed columns: map records to a struct without it";
        let table = [
            (header(vec![1], 1), format!("key is a list {mend}")),
            (
                header(1, Some((1, vec![1]))),
                format!("value.1 is a list {mend}"),
            ),
            (
                header(1, BTreeMap::from([(1, 2)])),
                format!("value is a map {mend}"),
            ),
            (
                header(Level::Between { from: 0.5 }, 1),
                format!("key is an enum with fields {mend}"),
            ),
        ];
        for (found, expected) in table {
            assert_eq!(found, expected);
        }
        for nameless in [columns(&("a", 1_u64)), columns(&7_u64), columns(&Id(7))] {
            let message = nameless.unwrap_err().to_string();
            assert!(message.starts_with("its fields have no names"), "{message}");
        }
    }
}
