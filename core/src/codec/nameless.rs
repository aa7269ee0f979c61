//! What can't be written without names is refused when it is written, since it would be read back as something else.
//!
//! Structs are written as their fields in order. A field that is left out of a value (`skip_serializing_if`) moves those behind it
//! into its place; and an option within an option is written as the inner one, so that `Some(None)` comes back as `None`.

use std::fmt::Display;

use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// A value that is looked through as it is written.
pub(super) struct Nameless<'a, T: ?Sized> {
    value: &'a T,
    /// Whether it is what an option holds.
    is_optional: bool,
}

impl<'a, T: ?Sized> Nameless<'a, T> {
    pub(super) fn of(value: &'a T) -> Self {
        Self {
            value,
            is_optional: false,
        }
    }
}

impl<T: Serialize + ?Sized> Serialize for Nameless<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Looking {
            below: serializer,
            is_optional: self.is_optional,
        })
    }
}

/// A serializer, or a part of one, that looks at what it hands on.
struct Looking<S> {
    below: S,
    is_optional: bool,
}

impl<S> Looking<S> {
    #[inline]
    fn at<E>(below: Result<S, E>) -> Result<Self, E> {
        below.map(|below| Self {
            below,
            is_optional: false,
        })
    }
}

macro_rules! hand_on {
    ($($method:ident: $value:ty),*) => {
        $(#[inline]
        fn $method(self, value: $value) -> Result<S::Ok, S::Error> {
            self.below.$method(value)
        })*
    };
}

impl<S: Serializer> Looking<S> {
    /// Refuses what is written as the absence of the option that it stands in.
    #[inline]
    fn not_nothing(&self, what: &str) -> Result<(), S::Error> {
        match self.is_optional {
            false => Ok(()),
            true => Err(Error::custom(format!(
                "Some({what}) would be read back as None: take an enum of your own in the place of the outer Option"
            ))),
        }
    }
}

impl<S: Serializer> Serializer for Looking<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Looking<S::SerializeSeq>;
    type SerializeTuple = Looking<S::SerializeTuple>;
    type SerializeTupleStruct = Looking<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Looking<S::SerializeTupleVariant>;
    type SerializeMap = Looking<S::SerializeMap>;
    type SerializeStruct = Looking<S::SerializeStruct>;
    type SerializeStructVariant = Looking<S::SerializeStructVariant>;

    hand_on! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_u128: u128, serialize_f32: f32, serialize_f64: f64, serialize_char: char, serialize_str: &str,
        serialize_bytes: &[u8], serialize_unit_struct: &'static str
    }

    #[inline]
    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.not_nothing("None")?;
        self.below.serialize_none()
    }

    #[inline]
    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.not_nothing("()")?;
        self.below.serialize_unit()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.below.serialize_some(&Nameless {
            value,
            is_optional: true,
        })
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.below.serialize_unit_variant(name, index, variant)
    }

    /// Written as what it holds.
    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let Self { below, is_optional } = self;
        below.serialize_newtype_struct(name, &Nameless { value, is_optional })
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let value = Nameless::of(value);
        self.below
            .serialize_newtype_variant(name, index, variant, &value)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        Looking::at(self.below.serialize_seq(len))
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        Looking::at(self.below.serialize_tuple(len))
    }

    #[inline]
    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        Looking::at(self.below.serialize_tuple_struct(name, len))
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        Looking::at(
            self.below
                .serialize_tuple_variant(name, index, variant, len),
        )
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        Looking::at(self.below.serialize_map(len))
    }

    #[inline]
    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        Looking::at(self.below.serialize_struct(name, len))
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        Looking::at(
            self.below
                .serialize_struct_variant(name, index, variant, len),
        )
    }

    #[inline]
    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.below.collect_str(value)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.below.is_human_readable()
    }
}

macro_rules! look_at_elements {
    ($($trait:ident: $method:ident),*) => {
        $(impl<S: $trait> $trait for Looking<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                self.below.$method(&Nameless::of(value))
            }

            #[inline]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.below.end()
            }
        })*
    };
}

look_at_elements! {
    SerializeSeq: serialize_element, SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field, SerializeTupleVariant: serialize_field
}

macro_rules! look_at_fields {
    ($($trait:ident),*) => {
        $(impl<S: $trait> $trait for Looking<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                self.below.serialize_field(key, &Nameless::of(value))
            }

            fn skip_field(&mut self, key: &'static str) -> Result<(), S::Error> {
                Err(Error::custom(format!(
                    "its field `{key}` is left out, and those behind it would be read back as those before: take \
                     skip_serializing_if away"
                )))
            }

            #[inline]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.below.end()
            }
        })*
    };
}

look_at_fields! { SerializeStruct, SerializeStructVariant }

impl<S: SerializeMap> SerializeMap for Looking<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.below.serialize_key(&Nameless::of(key))
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.below.serialize_value(&Nameless::of(value))
    }

    #[inline]
    fn end(self) -> Result<S::Ok, S::Error> {
        self.below.end()
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::super::{decode, encode};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Visit {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        referrer: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page: Option<String>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Seen {
        Nothing,
        One(Option<u8>),
        Visit {
            #[serde(skip_serializing_if = "Vec::is_empty")]
            pages: Vec<u8>,
            at: (u8, [bool; 2]),
        },
    }

    fn refusal<T: Serialize>(value: &T) -> String {
        let error = encode(value).unwrap_err();
        std::error::Error::source(&error).unwrap().to_string()
    }

    #[test]
    fn a_field_that_is_left_out_is_named_and_no_value_is_taken_for_another() {
        let page = || Some("/".to_owned());
        let visit = |referrer, page| Visit { referrer, page };
        let whole = visit(page(), page());
        assert_eq!(decode::<Visit>(&encode(&whole).unwrap()).unwrap(), whole);
        let said = refusal(&vec![visit(None, page())]);
        assert!(
            said.starts_with("its field `referrer` is left out"),
            "{said}"
        );
        let said = refusal(&visit(page(), None));
        assert!(said.starts_with("its field `page` is left out"), "{said}");
        let at = (1, [true; 2]);
        let said = refusal(&Seen::Visit { pages: vec![], at });
        assert!(said.contains("take skip_serializing_if away"), "{said}");
    }

    #[test]
    fn an_option_that_would_be_none_is_refused() {
        for said in [
            refusal(&Some(None::<u8>)),
            refusal(&(1, [Some(Some(())), None])),
            refusal(&Some(Seen::One(Some(1))).map(|_| Some(()))),
        ] {
            assert!(said.contains("would be read back as None"), "{said}");
        }
        let all = [
            Some(Seen::Nothing),
            None,
            Some(Seen::One(None)),
            Some(Seen::Visit {
                pages: vec![1],
                at: (2, [false; 2]),
            }),
        ];
        let bytes = encode(&all).unwrap();
        assert_eq!(decode::<[Option<Seen>; 4]>(&bytes).unwrap(), all);
        assert_eq!(bytes, rmp_serde::to_vec(&all).unwrap());
    }
}
