//! What a state's type looks like, written beside it: MessagePack arrays hold no names.
//!
//! Types go by the names that serde gives them, without their modules. Those of Rivus's own that are kept in state are
//! `rivus.Window` and so on, so that no user's type has such a name: a migration of a user's `Window` is no migration of ours.

mod parts;
mod way;

use std::any::TypeId;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_reflection::{ContainerFormat, Format, FormatHolder, Registry};

use self::parts::Parts;

/// Names and types of a state's fields, as serde sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// What it is made of.
    pub shape: Shape,
}

thread_local! {
    /// What types have been looked at. A format can't go from thread to thread.
    static KNOWN: RefCell<BTreeMap<TypeId, Schema>> = const { RefCell::new(BTreeMap::new()) };
}

/// The format of a type, and of every type with a name in it. Of a part that serde can't tell, because it takes not just any
/// value of its form, all that is known is its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// The whole.
    pub root: Format,
    /// Structs and enums, by name.
    pub containers: BTreeMap<String, ContainerFormat>,
    /// Enums of which only some variants are known.
    pub partly_known: BTreeSet<String>,
}

impl Schema {
    /// The schema of a type.
    ///
    /// ```
    /// use rivus_core::Schema;
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Visit { page: String, times: u32 }
    ///
    /// let schema = Schema::of::<Visit>();
    /// assert_eq!(schema.to_string(), "Visit { page: String, times: u32 }");
    /// ```
    pub fn of<T: DeserializeOwned>() -> Self {
        let mut parts = Parts::default();
        let root = parts.add::<T>();
        Self {
            shape: parts.shape(root),
        }
    }

    /// The same; a thread looks at the type once. Every snapshot asks.
    pub(crate) fn known_of<T: DeserializeOwned + 'static>() -> Self {
        let of = TypeId::of::<T>();
        let known = KNOWN.with_borrow(|known| known.get(&of).cloned());
        known.unwrap_or_else(|| {
            let schema = Self::of::<T>();
            KNOWN.with_borrow_mut(|known| known.insert(of, schema.clone()));
            schema
        })
    }

    /// The schema of rows by key. Where serde can't tell what one of the two is made of, the other is known all the same.
    ///
    /// ```
    /// use rivus_core::Schema;
    ///
    /// let schema = Schema::of_rows::<uuid::Uuid, Vec<u32>>();
    /// assert_eq!(schema.to_string(), "(Uuid, [u32])");
    /// ```
    pub fn of_rows<K: DeserializeOwned, V: DeserializeOwned>() -> Self {
        let mut parts = Parts::default();
        let root = match parts.add_whole::<(K, V)>() {
            Some(whole) => whole,
            None => Format::Tuple(vec![parts.add::<K>(), parts.add::<V>()]),
        };
        Self {
            shape: parts.shape(root),
        }
    }

    /// A struct's field by name: its place and its own schema.
    ///
    /// # Errors
    /// One line that says what fields there are.
    pub fn field(&self, name: &str) -> Result<(usize, Self), String> {
        let shape = &self.shape;
        let fields = match &shape.root {
            Format::TypeName(root) => match shape.containers.get(root) {
                Some(ContainerFormat::Struct(fields)) => Some(fields),
                _ => None,
            },
            _ => None,
        };
        let Some(fields) = fields else {
            return Err(format!(
                "its state is {self}, without names: ask for it as a whole"
            ));
        };
        let Some(place) = fields.iter().position(|field| field.name == name) else {
            let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            let names = names.join(", ");
            return Err(format!(
                "it has no state \"{name}\": ask for one of {names}"
            ));
        };
        let shape = shape.rooted_at(fields[place].value.clone());
        Ok((place, Self { shape }))
    }

    /// Whether bytes written as `self` are read as `other` as they are.
    pub fn reads_as(&self, other: &Self) -> bool {
        self == other
    }

    /// The names of all types with a name in it.
    pub fn names(&self) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = self.shape.containers.keys().cloned().collect();
        names.extend(names_in(&self.shape.root));
        names.extend(self.shape.containers.values().flat_map(names_in));
        names
    }

    /// The name of the type, if it has one.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.shape.root {
            Format::TypeName(name) => Some(name),
            _ => None,
        }
    }

    /// The schema of one of the types with a name in it.
    pub(crate) fn of_name(&self, name: &str) -> Self {
        Self {
            shape: self.shape.rooted_at(Format::TypeName(name.to_owned())),
        }
    }

    /// Whether both are made of the same, whatever the two themselves are called; a newtype is what it holds. Of an enum of which not
    /// all variants are known here, those that are.
    pub(crate) fn is_made_as(&self, other: &Self) -> bool {
        let (own, others) = (self.shape.content(), other.shape.content());
        let are_same = match (own, others) {
            (Content::Format(own), Content::Format(others)) => own == others,
            (Content::Container(own, known), Content::Container(others, _)) => {
                is_same_container(own, others, known)
            }
            (Content::Opaque, Content::Opaque) => true,
            _ => false,
        };
        are_same
            && self.shape.held_by(own).iter().all(|name| {
                let known = !self.shape.partly_known.contains(name);
                let containers = [self, other].map(|schema| schema.shape.containers.get(name));
                match containers {
                    [Some(own), Some(others)] => is_same_container(own, others, known),
                    [own, others] => own == others,
                }
            })
    }
}

/// What a type is made of.
#[derive(Clone, Copy)]
enum Content<'a> {
    Format(&'a Format),
    /// And whether all of it is known.
    Container(&'a ContainerFormat, bool),
    /// No more is known than its name.
    Opaque,
}

/// Whether two structs or enums are the same; of an enum that isn't known as a whole, the variants that are.
fn is_same_container(own: &ContainerFormat, other: &ContainerFormat, known: bool) -> bool {
    match (own, other) {
        (ContainerFormat::Enum(own), ContainerFormat::Enum(others)) => {
            let is_there = |variant| others.values().any(|other| other == variant);
            own.values().all(is_there) && (!known || own.len() == others.len())
        }
        (own, other) => own == other,
    }
}

impl std::fmt::Display for Schema {
    /// As in Rust, types with names written out where they come up first.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shape = &self.shape;
        f.write_str(&shape.written_out(&shape.root, &mut Vec::new()))
    }
}

impl Shape {
    fn new(root: Format, registry: Registry) -> Self {
        let containers: BTreeMap<String, ContainerFormat> = registry.into_iter().collect();
        // Numbers from the end are given to variants whose own is not known: a list shows its first record only.
        let partly_known = containers.iter().filter(|(_, container)| match container {
            ContainerFormat::Enum(variants) => variants.keys().any(|index| *index > u32::MAX / 2),
            _ => false,
        });
        Self {
            partly_known: partly_known.map(|(name, _)| name.clone()).collect(),
            root,
            containers,
        }
    }

    /// The part of it that another format is made of.
    fn rooted_at(&self, root: Format) -> Self {
        let mut containers = BTreeMap::new();
        let mut names = names_in(&root);
        while let Some(name) = names.pop() {
            if let Some(container) = self.containers.get(&name)
                && !containers.contains_key(&name)
            {
                names.extend(names_in(container));
                containers.insert(name, container.clone());
            }
        }
        let partly_known = self.partly_known.iter();
        let partly_known = partly_known.filter(|name| containers.contains_key(*name));
        Self {
            partly_known: partly_known.cloned().collect(),
            root,
            containers,
        }
    }

    fn content(&self) -> Content<'_> {
        let mut root = &self.root;
        loop {
            let Format::TypeName(name) = root else {
                return Content::Format(root);
            };
            match self.containers.get(name) {
                Some(ContainerFormat::NewTypeStruct(inner)) => root = inner,
                Some(container) => {
                    return Content::Container(container, !self.partly_known.contains(name));
                }
                None => return Content::Opaque,
            }
        }
    }

    /// The names of all types that stand in it.
    fn held_by(&self, content: Content<'_>) -> BTreeSet<String> {
        let mut open = match content {
            Content::Format(format) => names_in(format),
            Content::Container(container, _) => names_in(container),
            Content::Opaque => Vec::new(),
        };
        let mut held = BTreeSet::new();
        while let Some(name) = open.pop() {
            if let Some(container) = self.containers.get(&name)
                && !held.contains(&name)
            {
                open.extend(names_in(container));
            }
            held.insert(name);
        }
        held
    }

    fn written_out<'a>(&'a self, format: &'a Format, seen: &mut Vec<&'a str>) -> String {
        match format {
            Format::TypeName(name) if !seen.contains(&name.as_str()) => {
                seen.push(name);
                match self.containers.get(name) {
                    Some(ContainerFormat::Struct(fields)) => {
                        let fields: Vec<String> = fields
                            .iter()
                            .map(|field| {
                                let format = self.written_out(&field.value, seen);
                                format!("{}: {format}", field.name)
                            })
                            .collect();
                        format!("{name} {{ {} }}", fields.join(", "))
                    }
                    Some(ContainerFormat::NewTypeStruct(inner)) => {
                        format!("{name}({})", self.written_out(inner, seen))
                    }
                    Some(ContainerFormat::TupleStruct(parts)) => {
                        format!("{name}({})", self.all(parts, seen))
                    }
                    Some(ContainerFormat::Enum(variants)) => {
                        let names: Vec<&str> = variants.values().map(|v| v.name.as_str()).collect();
                        format!("{name} {{ {} }}", names.join(", "))
                    }
                    Some(ContainerFormat::UnitStruct) | None => name.clone(),
                }
            }
            Format::Option(inner) => format!("Option<{}>", self.written_out(inner, seen)),
            Format::Seq(inner) => format!("[{}]", self.written_out(inner, seen)),
            Format::Map { key, value } => {
                let key = self.written_out(key, seen);
                format!("{{{key}: {}}}", self.written_out(value, seen))
            }
            Format::Tuple(parts) => format!("({})", self.all(parts, seen)),
            other => name_of(other),
        }
    }

    fn all<'a>(&'a self, parts: &'a [Format], seen: &mut Vec<&'a str>) -> String {
        let parts: Vec<String> = parts
            .iter()
            .map(|part| self.written_out(part, seen))
            .collect();
        parts.join(", ")
    }
}

/// Whether serde reads any part of a type by the names of its fields, as it does with enums that are tagged in another way than usual.
pub(crate) fn is_told_by_names<T: DeserializeOwned>() -> bool {
    let mut parts = Parts::default();
    parts.add::<T>();
    parts.by_names
}

/// A type's name without the modules in which it lies: a type that is moved is the same.
fn short_name(full: &str) -> String {
    let is_of_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let parts = full.split_inclusive(|c| !is_of_path(c));
    parts.filter_map(|part| part.rsplit("::").next()).collect()
}

/// Names of structs and enums that stand in a format.
fn names_in(format: &impl FormatHolder) -> Vec<String> {
    let mut names = Vec::new();
    // What can't be visited is not known, and so names nothing.
    let _ = format.visit(&mut |part| {
        if let Format::TypeName(name) = part {
            names.push(name.clone());
        }
        Ok(())
    });
    names
}

/// A format's name, as in Rust.
pub(crate) fn name_of(format: &Format) -> String {
    match format {
        Format::Variable(_) => "_".to_owned(),
        Format::TypeName(name) => name.clone(),
        Format::Unit => "()".to_owned(),
        Format::Str => "String".to_owned(),
        Format::Bytes => "bytes".to_owned(),
        Format::Option(inner) => format!("Option<{}>", name_of(inner)),
        Format::Seq(inner) => format!("[{}]", name_of(inner)),
        Format::Map { key, value } => format!("{{{}: {}}}", name_of(key), name_of(value)),
        Format::Tuple(parts) => {
            let parts: Vec<String> = parts.iter().map(name_of).collect();
            format!("({})", parts.join(", "))
        }
        Format::TupleArray { content, size } => format!("[{}; {size}]", name_of(content)),
        primitive => format!("{primitive:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_serde_cannot_tell_is_known_by_its_name_and_hides_nothing_beside_it() {
        #[derive(Serialize, Deserialize)]
        struct Visit {
            page: String,
        }
        #[derive(Serialize, Deserialize)]
        struct Order {
            id: Uuid,
            lines: u32,
        }
        let orders = "(u32, [Order { id: Uuid, lines: u32 }])";
        for (schema, shown) in [
            (
                Schema::of_rows::<u32, Visit>(),
                "(u32, Visit { page: String })",
            ),
            (
                Schema::of_rows::<Uuid, Visit>(),
                "(Uuid, Visit { page: String })",
            ),
            (Schema::of_rows::<u32, Vec<Order>>(), orders),
            (Schema::of::<Uuid>(), "Uuid"),
        ] {
            assert_eq!(schema.to_string(), shown);
            assert!(schema.reads_as(&schema));
        }
        let names = Schema::of_rows::<Uuid, Visit>().names();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["Uuid", "Visit"]);
        let other = Schema::of_rows::<Uuid, u32>();
        assert!(!Schema::of_rows::<u32, Order>().reads_as(&Schema::of_rows::<u32, Uuid>()));
        assert!(!Schema::of_rows::<Uuid, Visit>().reads_as(&other));
    }

    #[test]
    fn a_type_that_is_moved_to_another_module_keeps_its_name() {
        for (full, short) in [
            ("u32", "u32"),
            ("a::b::C", "C"),
            ("alloc::vec::Vec<(a::B, [c::d::E; 3])>", "Vec<(B, [E; 3])>"),
        ] {
            assert_eq!(short_name(full), short);
        }
    }
}
