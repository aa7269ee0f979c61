//! What a value takes of memory beside its own place: the texts, lists and maps that it points to.
//!
//! States know their own blocks. What stands in them is the user's and only serde's: a [`Measure`] is told of it as if it were
//! written, and takes a text for a `String`, a sequence for a `Vec` and a map for a `BTreeMap`. In a struct the fields say how large
//! they are; of what stands in a list or a map a few are looked at for all, so that a large one costs no more than a small one.
//!
//! - What needs no `Drop` has nothing beside its place, whatever it is written as: a time, a `Uuid`.
//! - A `Box` is told by being smaller than what is in it. An `Arc` counts for each of its owners.
//! - A list that stands in a value is taken to have no room to spare.
//! - In lists and maps that stand in a value, enums and options are as large as those that were looked at.

use std::fmt::{self, Display, Write};
use std::mem::needs_drop;

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// Elements of a list or a map that are looked at for all.
const LOOKED: usize = 8;

/// A word, and the place of what points to a block.
const WORD: usize = size_of::<usize>();
const TEXT: usize = size_of::<String>();

/// What a value has beside its place; 0 if it can't be encoded, which is said when it is.
#[inline]
pub(crate) fn heap_bytes<T: Serialize>(value: &T) -> usize {
    match needs_drop::<T>() {
        true => Size::of(value).map_or(0, |size| size.beside),
        false => 0,
    }
}

/// A block of so many bytes as allocators give it: a word, else in steps of sixteen, and from 64 on four sizes to a doubling.
#[inline]
pub(crate) fn block(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=8 => WORD,
        9..=64 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of(1 << ((bytes - 1).ilog2() - 2)),
    }
}

/// A list's block and what its elements have beside it.
#[inline]
pub(crate) fn list_bytes<T: Serialize>(list: &Vec<T>) -> usize {
    block(list.capacity() * size_of::<T>()) + elements_bytes(list.iter())
}

/// What elements have beside their places, by a look at the first and the last of them.
#[inline]
pub(crate) fn elements_bytes<'a, T: Serialize + 'a>(
    elements: impl DoubleEndedIterator<Item = &'a T> + ExactSizeIterator,
) -> usize {
    if !needs_drop::<T>() {
        return 0;
    }
    let (len, mut elements) = (elements.len(), elements);
    let mut looked = 0;
    let mut beside = 0;
    while looked < LOOKED {
        let element = match looked % 2 {
            0 => elements.next(),
            _ => elements.next_back(),
        };
        let Some(element) = element else { break };
        beside += heap_bytes(element);
        looked += 1;
    }
    share(beside, len, looked)
}

/// The nodes of a `BTreeMap` with so many entries of a size. A node has room for eleven; how many it holds depends on the order
/// in which they came, between seven of those that came in order and eight and a half.
#[inline]
pub(crate) fn map_nodes(len: usize, entry: usize) -> usize {
    let node = 11 * entry + 16;
    let inner = node + 12 * WORD;
    match len {
        0 => 0,
        1..=11 => block(node),
        _ => {
            let leaves = (2 * len / 15).max(2);
            leaves * block(node) + leaves.div_ceil(8) * block(inner)
        }
    }
}

/// What `len` have if those that were looked at have so much.
fn share(bytes: usize, len: usize, looked: usize) -> usize {
    match looked {
        0 => 0,
        _ if looked == len => bytes,
        _ => (bytes as u128 * len as u128 / looked as u128) as usize,
    }
}

/// Bytes of a value.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    /// Where it stands.
    place: usize,
    /// What it points to.
    beside: usize,
}

impl Size {
    const fn plain(place: usize) -> Self {
        Self { place, beside: 0 }
    }

    const fn text(len: usize) -> Self {
        Self {
            place: TEXT,
            beside: len,
        }
    }

    /// What a value is and has; lists hand out references to what they hold.
    #[inline]
    fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, Unmeasured> {
        let place = size_of_val(value);
        let is_plain = !needs_drop::<T>();
        if is_plain && place != WORD {
            return Ok(Self::plain(place));
        }
        let told = value.serialize(Measure)?;
        Ok(match (place == WORD && told.place > WORD, is_plain) {
            // A reference, and a box.
            (true, true) => told,
            (true, false) => Self {
                place,
                beside: told.beside + block(told.place),
            },
            (false, _) => Self {
                place,
                beside: told.beside,
            },
        })
    }

    fn add(&mut self, other: Self) {
        self.place += other.place;
        self.beside += other.beside;
    }
}

/// Is told of a value as if it were to write it.
struct Measure;

/// What stands in a struct or tuple, one after the other.
struct Parts(Size);

impl Parts {
    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unmeasured> {
        self.0.add(Size::of(value)?);
        Ok(())
    }

    /// Places are padded.
    fn all(self) -> Size {
        let place = match self.0.place {
            small @ ..WORD => small,
            place => place.next_multiple_of(WORD),
        };
        Size { place, ..self.0 }
    }
}

/// What stands in a list or a map, by the first few.
#[derive(Default)]
struct Elements {
    len: usize,
    looked: usize,
    sum: Size,
}

impl Elements {
    fn look<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unmeasured> {
        if self.looked < LOOKED {
            self.looked += 1;
            self.sum.add(Size::of(value)?);
        }
        self.len += 1;
        Ok(())
    }

    /// A value to the key that was looked at last.
    fn look_beside<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unmeasured> {
        if self.looked == self.len {
            self.sum.add(Size::of(value)?);
        }
        Ok(())
    }

    /// The others are as those that were looked at, if it is known how many they are.
    fn rest<T>(&mut self, rest: impl Iterator<Item = T>) {
        self.len += match rest.size_hint() {
            (least, Some(most)) if least == most => least,
            _ => rest.count(),
        };
    }

    fn beside(&self) -> usize {
        share(self.sum.beside, self.len, self.looked)
    }

    fn list(&self) -> Size {
        let places = share(self.sum.place, self.len, self.looked);
        Size {
            place: TEXT,
            beside: block(places) + self.beside(),
        }
    }

    fn map(&self) -> Size {
        let entry = self.sum.place / self.looked.max(1);
        Size {
            place: TEXT,
            beside: map_nodes(self.len, entry) + self.beside(),
        }
    }
}

/// A `Serialize` that refused.
#[derive(Debug)]
struct Unmeasured;

impl Display for Unmeasured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that can't be encoded has no size")
    }
}

impl std::error::Error for Unmeasured {}

impl serde::ser::Error for Unmeasured {
    fn custom<T: Display>(_message: T) -> Self {
        Self
    }
}

/// Counts what a value displays.
struct Displayed(usize);

impl Write for Displayed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

macro_rules! plain {
    ($($method:ident($ty:ty))*) => {
        $(#[inline] fn $method(self, _value: $ty) -> Result<Size, Unmeasured> {
            Ok(Size::plain(size_of::<$ty>()))
        })*
    };
}

impl Serializer for Measure {
    type Ok = Size;
    type Error = Unmeasured;
    type SerializeSeq = Elements;
    type SerializeTuple = Parts;
    type SerializeTupleStruct = Parts;
    type SerializeTupleVariant = Parts;
    type SerializeMap = Elements;
    type SerializeStruct = Parts;
    type SerializeStructVariant = Parts;

    plain! {
        serialize_bool(bool) serialize_char(char) serialize_f32(f32) serialize_f64(f64)
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_i128(i128)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) serialize_u128(u128)
    }

    /// As the codec does, which isn't either.
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Result<Size, Unmeasured> {
        Ok(Size::text(block(text.len())))
    }

    #[inline]
    fn serialize_bytes(self, bytes: &[u8]) -> Result<Size, Unmeasured> {
        Ok(Size::text(block(bytes.len())))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<Size, Unmeasured> {
        let mut text = Displayed(0);
        write!(text, "{value}").map_err(|_| Unmeasured)?;
        Ok(Size::text(block(text.0)))
    }

    fn serialize_none(self) -> Result<Size, Unmeasured> {
        Ok(Size::plain(WORD))
    }

    /// What points to a block tells by itself that it is there.
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Size, Unmeasured> {
        let mut size = Size::of(value)?;
        if size.beside == 0 {
            size.place += size.place.clamp(1, WORD);
        }
        Ok(size)
    }

    fn serialize_unit(self) -> Result<Size, Unmeasured> {
        Ok(Size::default())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Size, Unmeasured> {
        Ok(Size::default())
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
    ) -> Result<Size, Unmeasured> {
        Ok(Size::plain(1))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<Size, Unmeasured> {
        Size::of(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<Size, Unmeasured> {
        let mut parts = Parts(Size::plain(WORD));
        parts.add(value)?;
        Ok(parts.all())
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Elements, Unmeasured> {
        Ok(Elements::default())
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Elements, Unmeasured> {
        Ok(Elements::default())
    }

    fn serialize_tuple(self, _len: usize) -> Result<Parts, Unmeasured> {
        Ok(Parts(Size::default()))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Parts, Unmeasured> {
        Ok(Parts(Size::default()))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Parts, Unmeasured> {
        Ok(Parts(Size::default()))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Parts, Unmeasured> {
        Ok(Parts(Size::plain(WORD)))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Parts, Unmeasured> {
        Ok(Parts(Size::plain(WORD)))
    }

    fn collect_seq<I>(self, elements: I) -> Result<Size, Unmeasured>
    where
        I: IntoIterator<Item: Serialize>,
    {
        let mut elements = elements.into_iter();
        let mut seen = Elements::default();
        for element in elements.by_ref().take(LOOKED) {
            seen.look(&element)?;
        }
        seen.rest(elements);
        Ok(seen.list())
    }

    fn collect_map<K, V, I>(self, entries: I) -> Result<Size, Unmeasured>
    where
        K: Serialize,
        V: Serialize,
        I: IntoIterator<Item = (K, V)>,
    {
        let mut entries = entries.into_iter();
        let mut seen = Elements::default();
        for (key, value) in entries.by_ref().take(LOOKED) {
            seen.look(&key)?;
            seen.look_beside(&value)?;
        }
        seen.rest(entries);
        Ok(seen.map())
    }
}

macro_rules! told {
    ($($kind:ident for $of:ident -> $end:ident: $($method:ident($($name:ident)?) $take:ident),+;)*) => {
        $(impl $kind for $of {
            type Ok = Size;
            type Error = Unmeasured;

            $(#[inline]
            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($name: &'static str,)?
                value: &T,
            ) -> Result<(), Unmeasured> {
                self.$take(value)
            })+

            #[inline]
            fn end(self) -> Result<Size, Unmeasured> {
                Ok(self.$end())
            }
        })*
    };
}

told! {
    SerializeSeq for Elements -> list: serialize_element() look;
    SerializeMap for Elements -> map: serialize_key() look, serialize_value() look_beside;
    SerializeTuple for Parts -> all: serialize_element() add;
    SerializeTupleStruct for Parts -> all: serialize_field() add;
    SerializeTupleVariant for Parts -> all: serialize_field() add;
    SerializeStruct for Parts -> all: serialize_field(_name) add;
    SerializeStructVariant for Parts -> all: serialize_field(_name) add;
}
