//! What a state's type looks like, written beside it: MessagePack arrays hold no names.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_reflection::{
    ContainerFormat, Error, Format, FormatHolder, Registry, Samples, Tracer, TracerConfig,
};

/// Names and types of a state's fields, as serde sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The Rust type that was stored, for people.
    pub type_name: String,
    /// What it is made of; none where serde can't tell.
    pub shape: Option<Shape>,
}

/// The format of a type, and of every type with a name in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// The whole.
    pub root: Format,
    /// Structs and enums, by name.
    pub containers: BTreeMap<String, ContainerFormat>,
    /// Enums of which only some variants are known: such as stand in a list or a map.
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
        Self {
            type_name: std::any::type_name::<T>().to_owned(),
            shape: Shape::of::<T>(),
        }
    }

    /// A struct's field by name: its place and its own schema.
    ///
    /// # Errors
    /// One line that says what fields there are.
    pub fn field(&self, name: &str) -> Result<(usize, Self), String> {
        let fields = self.shape.as_ref().and_then(|shape| match &shape.root {
            Format::TypeName(root) => match shape.containers.get(root) {
                Some(ContainerFormat::Struct(fields)) => Some((shape, fields)),
                _ => None,
            },
            _ => None,
        });
        let Some((shape, fields)) = fields else {
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
        let type_name = shape.written_out(&shape.root, &mut Vec::new());
        let shape = Some(shape);
        Ok((place, Self { type_name, shape }))
    }

    /// Whether bytes written as `self` are read as `other` as they are. Unknown shapes are given the chance.
    pub fn reads_as(&self, other: &Self) -> bool {
        self.shape.is_none() || other.shape.is_none() || self.shape == other.shape
    }
}

impl std::fmt::Display for Schema {
    /// As in Rust, types with names written out where they come up first.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.shape {
            Some(shape) => f.write_str(&shape.written_out(&shape.root, &mut Vec::new())),
            None => f.write_str(&self.type_name),
        }
    }
}

/// Looks at a type, each of which shows one more variant of an enum in it, until nothing new is seen.
const LOOKS: usize = 1_000;

impl Shape {
    /// None where serde can't tell.
    fn of<T: DeserializeOwned>() -> Option<Self> {
        let samples = Samples::new();
        // An enum with unseen variants is known by name only when a look has left it so.
        let mut enums: BTreeSet<String> = BTreeSet::new();
        loop {
            let mut tracer = Tracer::new(TracerConfig::default());
            let mut root = None;
            for _ in 0..LOOKS {
                root = Some(tracer.trace_type_once::<T>(&samples).ok()?.0);
                let open = enums
                    .iter()
                    .filter(|name| tracer.check_incomplete_enum(name).is_some());
                if open.count() == 0 {
                    break;
                }
            }
            match tracer.registry() {
                Ok(registry) => return Some(Self::new(root?, registry)),
                Err(Error::MissingVariants(names)) => {
                    let known = enums.len();
                    enums.extend(names);
                    if enums.len() == known {
                        return None;
                    }
                }
                Err(_) => return None,
            }
        }
    }

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
