//! The way from a type to one of its parts.
//!
//! A type is read up to the part, and nothing behind it: whatever its `Deserialize` asks for on the way is answered so that it goes on, and
//! what there is to see at the end has been seen when it fails.

use std::any::type_name;
use std::fmt::{self, Display, Formatter};
use std::marker::PhantomData;
use std::sync::LazyLock;

use serde::de::value::{U32Deserializer, U64Deserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_reflection::{Error, Format, Samples, Tracer, TracerConfig};

static NO_SAMPLES: LazyLock<Samples> = LazyLock::new(Samples::new);

/// One step from a type to a part of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// To what an option, a list or a newtype holds.
    Inner,
    /// To a map's keys.
    Key,
    /// To a map's values.
    Value,
    /// To a field or a part of a tuple, by its place.
    Part(usize),
    /// To an enum's variant, by its place.
    Variant(usize),
}

/// What a type is, but for its parts: where it has a name, that, and what Rust calls it.
#[derive(Debug)]
pub(super) enum Kind {
    Option,
    Seq,
    Map,
    Tuple(usize),
    Newtype(&'static str, &'static str),
    TupleStruct(&'static str, &'static str, usize),
    Struct(&'static str, &'static str, &'static [&'static str]),
    Enum(&'static str, &'static str, &'static [&'static str]),
    /// A variant that holds nothing.
    Unit,
}

/// What is seen at the end of a path.
#[derive(Default)]
pub(super) struct Visit<'a> {
    /// Looks at the part; else it is only asked what it is.
    pub(super) tracer: Option<&'a mut Tracer>,
    /// What Rust calls the part, once it has been reached.
    pub(super) name: Option<&'static str>,
    pub(super) format: Option<Format>,
    pub(super) kind: Option<Kind>,
    /// Whether serde reads it by the names of its fields.
    pub(super) by_names: bool,
}

/// Reads a type along a path, and looks at what is there.
pub(super) fn read<T: DeserializeOwned>(path: &[Step], visit: &mut Visit<'_>) {
    go(PhantomData::<T>, type_name::<T>(), path, visit);
}

/// Reads on. Whatever there was to see has been seen then.
fn go<'de, S: DeserializeSeed<'de>>(
    seed: S,
    name: &'static str,
    path: &[Step],
    visit: &mut Visit<'_>,
) -> Error {
    if path.is_empty() {
        visit.name = Some(name);
        if let Some(tracer) = visit.tracer.take() {
            let seen = tracer.trace_type_once_with_seed(&NO_SAMPLES, seed);
            visit.format = seen.ok().map(|(format, _)| format);
            return SEEN;
        }
    }
    // Nobody needs what is read.
    let _ = seed.deserialize(Way {
        path,
        passed: 0,
        visit,
    });
    SEEN
}

/// Reads something on the way.
fn pass<'de, S: DeserializeSeed<'de>>(seed: S) -> Result<S::Value, Error> {
    let mut tracer = Tracer::new(TracerConfig::default());
    let (_, value) = tracer.trace_type_once_with_seed(&NO_SAMPLES, seed)?;
    Ok(value)
}

/// What serde expects of a type's form.
struct Expected<V>(V);

impl<'de, V: Visitor<'de>> Display for Expected<&V> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
}

/// Whether it takes a value in and looks then what that may be, as it does with enums whose variants it doesn't find by their numbers:
/// those that are untagged ("any value"), and adjacently or internally tagged.
fn reads_by_names<'de>(visitor: &impl Visitor<'de>) -> bool {
    let expected = Expected(visitor).to_string();
    expected == "any value" || expected.contains("tagged enum")
}

/// Ends the reading.
const SEEN: Error = Error::NotSupported("more than a look");

/// The way to a part.
struct Way<'a, 'v> {
    path: &'a [Step],
    /// Parts of a tuple before it that have been read.
    passed: usize,
    visit: &'a mut Visit<'v>,
}

impl Way<'_, '_> {
    /// Says what stands at its end, or that it leads on.
    fn ends_at(self, kind: Kind) -> Result<Self, Error> {
        if self.path.is_empty() {
            self.visit.kind = Some(kind);
            return Err(SEEN);
        }
        Ok(self)
    }

    /// Goes on, if that is its next step.
    fn through<'de, S: DeserializeSeed<'de>>(&mut self, seed: S, name: &'static str) -> Error {
        match self.path {
            [_, rest @ ..] => go(seed, name, rest, self.visit),
            [] => SEEN,
        }
    }
}

/// What is within an option.
struct SomeOf<V>(V);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for SomeOf<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(deserializer)
    }
}

/// What is within a newtype.
struct NewtypeOf<V>(V);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for NewtypeOf<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(deserializer)
    }
}

impl<'de> Deserializer<'de> for Way<'_, '_> {
    type Error = Error;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.visit.by_names |= reads_by_names(&visitor);
        Err(SEEN)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let whole = type_name::<V::Value>();
        let inner = whole.strip_prefix("core::option::Option<");
        let inner = inner.and_then(|inner| inner.strip_suffix('>'));
        let mut way = self.ends_at(Kind::Option)?;
        Err(way.through(SomeOf(visitor), inner.unwrap_or(whole)))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let of = type_name::<V::Value>();
        let mut way = self.ends_at(Kind::Newtype(name, of))?;
        Err(way.through(NewtypeOf(visitor), of))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(self.ends_at(Kind::Seq)?)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(self.ends_at(Kind::Tuple(len))?)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let of = type_name::<V::Value>();
        visitor.visit_seq(self.ends_at(Kind::TupleStruct(name, of, len))?)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(self.ends_at(Kind::Map)?)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let of = type_name::<V::Value>();
        self.visit.by_names |= reads_by_names(&visitor);
        visitor.visit_map(self.ends_at(Kind::Struct(name, of, fields))?)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let of = type_name::<V::Value>();
        visitor.visit_enum(self.ends_at(Kind::Enum(name, of, variants))?)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct identifier
        ignored_any
    }
}

impl<'de> SeqAccess<'de> for Way<'_, '_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        match self.path.first() {
            Some(Step::Part(place)) if self.passed < *place => {
                self.passed += 1;
                pass(seed).map(Some)
            }
            _ => Err(self.through(seed, type_name::<S::Value>())),
        }
    }
}

impl<'de> MapAccess<'de> for Way<'_, '_> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        match self.path.first() {
            Some(Step::Part(place)) => seed
                .deserialize(U64Deserializer::new(*place as u64))
                .map(Some),
            Some(Step::Value) => pass(seed).map(Some),
            _ => Err(self.through(seed, type_name::<S::Value>())),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        Err(self.through(seed, type_name::<S::Value>()))
    }

    /// To a map's values the way leads past keys that can't be read.
    fn next_entry_seed<K: DeserializeSeed<'de>, V: DeserializeSeed<'de>>(
        &mut self,
        key: K,
        value: V,
    ) -> Result<Option<(K::Value, V::Value)>, Error> {
        Err(match self.path.first() {
            Some(Step::Value) => self.through(value, type_name::<V::Value>()),
            _ => self.through(key, type_name::<K::Value>()),
        })
    }
}

impl<'de> EnumAccess<'de> for Way<'_, '_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let [Step::Variant(place), rest @ ..] = self.path else {
            return Err(SEEN);
        };
        let variant = seed.deserialize(U32Deserializer::new(*place as u32))?;
        Ok((variant, Self { path: rest, ..self }))
    }
}

impl<'de> VariantAccess<'de> for Way<'_, '_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        self.ends_at(Kind::Unit).map(drop)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        let of = type_name::<S::Value>();
        let mut way = self.ends_at(Kind::Newtype("", of))?;
        Err(way.through(seed, of))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(self.ends_at(Kind::Tuple(len))?)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(self.ends_at(Kind::Struct("", "", fields))?)
    }
}
