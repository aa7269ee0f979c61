//! What a type is made of, as far as serde can tell.
//!
//! A look at a type reads one, in which each part has some value of its form. A type that takes not just any value, such as a
//! `Uuid`, fails the look, and with it all types that it is a part of. These are taken apart then: a type is read up to one
//! of its parts, another look begins there, and nothing behind it is read. So only what serde can't tell is known by its name,
//! and all beside it to the last field.
//!
//! Parts of a tuple stand behind each other, so one that can't be looked at hides those behind it: such a tuple is known by its
//! name as a whole.

use std::any::type_name;
use std::collections::{BTreeMap, BTreeSet};

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_reflection::{
    ContainerFormat, Error, Format, Named, Registry, Tracer, TracerConfig, VariantFormat,
};

use super::way::{Kind, Step, Visit, read};
use super::{Shape, short_name};

/// Looks at a type, each of which shows one more variant of an enum in it, until nothing new is seen.
const LOOKS: usize = 1_000;

/// Reads a type along a path, and looks at what is there.
type Read<'a> = &'a dyn Fn(&[Step], &mut Visit<'_>);

/// Types with names that have been found in one or several types.
#[derive(Default)]
pub(super) struct Parts {
    containers: BTreeMap<String, ContainerFormat>,
    partly_known: BTreeSet<String>,
    /// Those that are taken apart, or have been, and which types they are: two may have one name.
    apart: BTreeMap<&'static str, &'static str>,
    /// Short names of types of which nothing else is known, and which types those are: another type of the name goes by its whole one.
    given_out: BTreeMap<String, &'static str>,
    /// From the type to the part that is being looked at.
    path: Vec<Step>,
    /// Whether serde reads any of them by the names of its fields.
    pub(super) by_names: bool,
}

impl Parts {
    /// Takes in a type. All of it is known if one look shows it; else it is taken apart.
    pub(super) fn add<T: DeserializeOwned>(&mut self) -> Format {
        let part = self.part(&read::<T>);
        part.unwrap_or_else(|| self.opaque(type_name::<T>()))
    }

    /// Takes in a type if one look shows all of it.
    pub(super) fn add_whole<T: DeserializeOwned>(&mut self) -> Option<Format> {
        self.looked_at(&read::<T>).0
    }

    /// Something that is made of them.
    pub(super) fn shape(self, root: Format) -> Shape {
        let all = Shape {
            root: Format::Unit,
            containers: self.containers,
            partly_known: self.partly_known,
        };
        all.rooted_at(root)
    }

    /// The part at which the path ends; none if it can't be reached.
    fn part(&mut self, read: Read<'_>) -> Option<Format> {
        let (known, name) = self.looked_at(read);
        if known.is_some() {
            return known;
        }
        let Some(name) = name else {
            // Nobody knows.
            self.by_names = true;
            return None;
        };
        let opened = self.asked(read).and_then(|kind| self.opened(kind, read));
        Some(opened.unwrap_or_else(|| self.opaque(name)))
    }

    /// What a look at the end of the path shows, and the name of the type there, if it can be reached.
    fn looked_at(&mut self, read: Read<'_>) -> (Option<Format>, Option<&'static str>) {
        let mut name = None;
        let seen = looks(|tracer| {
            let mut visit = Visit {
                tracer: Some(tracer),
                ..Visit::default()
            };
            read(&self.path, &mut visit);
            name = visit.name;
            visit.format
        });
        // A name of no field is read as what may be anything.
        let name = name.filter(|name| *name != type_name::<IgnoredAny>());
        (
            seen.and_then(|(format, found)| self.keep(format, found)),
            name,
        )
    }

    /// Takes in what a look has shown, unless a name in it is another type's already.
    fn keep(&mut self, root: Format, found: Registry) -> Option<Format> {
        let found = Shape::new(root, found);
        let is_other = |(name, container): (&String, &ContainerFormat)| {
            let is_open =
                self.apart.contains_key(name.as_str()) || self.given_out.contains_key(name);
            let before = self.containers.get(name);
            before.map_or(is_open, |before| before != container)
        };
        // What isn't all known in one place may be in another.
        if !found.partly_known.is_empty() || found.containers.iter().any(is_other) {
            return None;
        }
        self.containers.extend(found.containers);
        self.partly_known.extend(found.partly_known);
        Some(found.root)
    }

    /// What the part at which the path ends is.
    fn asked(&mut self, read: Read<'_>) -> Option<Kind> {
        let mut visit = Visit::default();
        read(&self.path, &mut visit);
        self.by_names |= visit.by_names;
        visit.kind
    }

    /// A part that is made of others; none if these can't all be reached.
    fn opened(&mut self, kind: Kind, read: Read<'_>) -> Option<Format> {
        match kind {
            Kind::Option => Some(Format::Option(Box::new(self.step(Step::Inner, read)?))),
            Kind::Seq => Some(Format::Seq(Box::new(self.step(Step::Inner, read)?))),
            Kind::Map => Some(Format::Map {
                key: Box::new(self.step(Step::Key, read)?),
                value: Box::new(self.step(Step::Value, read)?),
            }),
            Kind::Tuple(len) => Some(Format::Tuple(self.tuple(len, read)?)),
            Kind::Newtype(name, of) => self.container(name, of, |parts| {
                let inner = parts.step(Step::Inner, read)?;
                // Its own name says more than that of what it is made of.
                let is_known = !parts.is_opaque(&inner);
                is_known.then(|| ContainerFormat::NewTypeStruct(Box::new(inner)))
            }),
            Kind::TupleStruct(name, of, len) => self.container(name, of, |parts| {
                Some(ContainerFormat::TupleStruct(parts.tuple(len, read)?))
            }),
            Kind::Struct(name, of, fields) => self.container(name, of, |parts| {
                Some(ContainerFormat::Struct(parts.fields(fields, read)?))
            }),
            Kind::Enum(name, of, variants) => self.container(name, of, |parts| {
                Some(ContainerFormat::Enum(parts.variants(variants, read)?))
            }),
            Kind::Unit => None,
        }
    }

    fn at<R>(&mut self, step: Step, look: impl FnOnce(&mut Self) -> R) -> R {
        self.path.push(step);
        let seen = look(self);
        self.path.pop();
        seen
    }

    fn step(&mut self, step: Step, read: Read<'_>) -> Option<Format> {
        self.at(step, |parts| parts.part(read))
    }

    fn tuple(&mut self, len: usize, read: Read<'_>) -> Option<Vec<Format>> {
        (0..len)
            .map(|place| self.step(Step::Part(place), read))
            .collect()
    }

    /// A field may have several names, but not several places: places beyond the last lead nowhere.
    fn fields(&mut self, names: &[&str], read: Read<'_>) -> Option<Vec<Named<Format>>> {
        let named = names.iter().enumerate().map(|(place, name)| {
            Some(Named {
                name: (*name).to_owned(),
                value: self.step(Step::Part(place), read)?,
            })
        });
        named.collect()
    }

    fn variants(
        &mut self,
        names: &[&str],
        read: Read<'_>,
    ) -> Option<BTreeMap<u32, Named<VariantFormat>>> {
        let variants = names.iter().enumerate().map(|(place, name)| {
            let value = self.at(Step::Variant(place), |parts| parts.variant(read))?;
            let name = (*name).to_owned();
            Some((place as u32, Named { name, value }))
        });
        variants.collect()
    }

    fn variant(&mut self, read: Read<'_>) -> Option<VariantFormat> {
        Some(match self.asked(read)? {
            Kind::Unit => VariantFormat::Unit,
            Kind::Newtype(..) => VariantFormat::NewType(Box::new(self.step(Step::Inner, read)?)),
            Kind::Tuple(len) => VariantFormat::Tuple(self.tuple(len, read)?),
            Kind::Struct(_, _, fields) => VariantFormat::Struct(self.fields(fields, read)?),
            _ => return None,
        })
    }

    /// A type with a name, which may hold itself; none if the name is another type's.
    fn container(
        &mut self,
        name: &'static str,
        of: &'static str,
        make: impl FnOnce(&mut Self) -> Option<ContainerFormat>,
    ) -> Option<Format> {
        let known = Some(Format::TypeName(name.to_owned()));
        if let Some(before) = self.apart.get(name) {
            return known.filter(|_| *before == of);
        }
        if self.given_out.contains_key(name) {
            return None;
        }
        self.apart.insert(name, of);
        let made = make(self).filter(|made| {
            let before = self.containers.get(name);
            before.is_none_or(|before| before == made)
        });
        match made {
            Some(made) => self.containers.insert(name.to_owned(), made),
            None => {
                self.apart.remove(name);
                return None;
            }
        };
        known
    }

    fn is_named(&self, name: &str) -> bool {
        self.containers.contains_key(name) || self.apart.contains_key(name)
    }

    fn is_opaque(&self, format: &Format) -> bool {
        matches!(format, Format::TypeName(name) if !self.is_named(name))
    }

    /// A type of which only the name is known.
    fn opaque(&mut self, name: &'static str) -> Format {
        // What a function reads that is given by `#[serde(with)]` has no name.
        if name.contains("__DeserializeWith") {
            return Format::TypeName("_".to_owned());
        }
        let short = short_name(name);
        if self.is_named(&short) || *self.given_out.entry(short.clone()).or_insert(name) != name {
            return Format::TypeName(name.to_owned());
        }
        Format::TypeName(short)
    }
}

/// Looks until all of it is seen; none where serde can't tell.
fn looks(mut once: impl FnMut(&mut Tracer) -> Option<Format>) -> Option<(Format, Registry)> {
    // An enum with unseen variants is known by name only when a look has left it so.
    let mut enums: BTreeSet<String> = BTreeSet::new();
    loop {
        let mut tracer = Tracer::new(TracerConfig::default());
        let mut root = None;
        for _ in 0..LOOKS {
            root = Some(once(&mut tracer)?);
            let open = enums
                .iter()
                .filter(|name| tracer.check_incomplete_enum(name).is_some());
            if open.count() == 0 {
                break;
            }
        }
        match tracer.registry() {
            Ok(registry) => return Some((root?, registry)),
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

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use uuid::Uuid;

    use super::super::Schema;
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Order {
        id: Uuid,
        lines: Vec<Line>,
        #[serde(default)]
        paid: Option<Uuid>,
        by_day: BTreeMap<Uuid, Line>,
    }

    #[derive(Serialize, Deserialize)]
    struct Line(String, u32);

    #[derive(Serialize, Deserialize)]
    struct Id(Uuid);

    #[derive(Serialize, Deserialize)]
    enum Change {
        Nothing,
        Made(Id),
        Moved { from: Id, times: u8 },
        Swapped(u32, Uuid),
    }

    #[derive(Serialize, Deserialize)]
    struct Tree {
        id: Uuid,
        below: Vec<Tree>,
    }

    mod other {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct Line {
            pub(super) page: uuid::Uuid,
        }
    }

    #[derive(Serialize, Deserialize)]
    struct Both {
        ours: Line,
        theirs: other::Line,
        changes: Vec<Change>,
        last: Change,
    }

    mod hidden {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct Line(uuid::Uuid, u32);
    }

    /// The one that can't be told comes first.
    #[derive(Serialize, Deserialize)]
    struct Reversed {
        theirs: hidden::Line,
        ours: Line,
        more: Vec<Line>,
        id: Uuid,
    }

    #[derive(Serialize, Deserialize)]
    struct Renamed {
        #[serde(alias = "key")]
        id: Uuid,
        times: u32,
    }

    fn shown<T: DeserializeOwned>() -> String {
        Schema::of::<T>().to_string()
    }

    #[test]
    fn only_the_part_that_serde_cannot_tell_is_known_by_its_name() {
        let order = "Order { id: Uuid, lines: [Line(String, u32)], paid: Option<Uuid>, by_day: {Uuid: Line} }";
        let changes = "Change { Nothing, Made, Moved, Swapped }";
        for (shown, expected) in [
            (shown::<Order>(), order.to_owned()),
            (shown::<Vec<(u8, Order)>>(), format!("[(u8, {order})]")),
            (shown::<Id>(), "Id".to_owned()),
            (shown::<Change>(), changes.to_owned()),
            (
                shown::<Tree>(),
                "Tree { id: Uuid, below: [Tree] }".to_owned(),
            ),
            // What stands behind it in a tuple can't be reached.
            (shown::<(u8, Uuid, u8)>(), "(u8, Uuid, u8)".to_owned()),
            (shown::<Renamed>(), "Renamed".to_owned()),
        ] {
            assert_eq!(shown, expected);
        }
        let Some(ContainerFormat::Enum(variants)) =
            Schema::of::<Change>().shape.containers.remove("Change")
        else {
            panic!("is an enum");
        };
        let named = |name: &str, value| Named {
            name: name.to_owned(),
            value,
        };
        let id = || Format::TypeName("Id".to_owned());
        let moved = vec![named("from", id()), named("times", Format::U8)];
        let swapped = vec![Format::U32, Format::TypeName("Uuid".to_owned())];
        assert_eq!(variants[&1].value, VariantFormat::NewType(Box::new(id())));
        assert_eq!(variants[&2].value, VariantFormat::Struct(moved));
        assert_eq!(variants[&3].value, VariantFormat::Tuple(swapped));
    }

    #[test]
    fn of_two_types_of_one_name_each_is_itself() {
        let ours = std::any::type_name::<Line>();
        assert_eq!(
            shown::<Reversed>(),
            format!("Reversed {{ theirs: Line, ours: {ours}, more: [{ours}], id: Uuid }}")
        );
        let schema = Schema::of::<Both>();
        let theirs = std::any::type_name::<other::Line>();
        assert_eq!(
            schema.to_string(),
            format!(
                "Both {{ ours: Line(String, u32), theirs: {theirs}, changes: [Change {{ Nothing, Made, Moved, Swapped }}], \
                 last: Change }}"
            )
        );
    }
}
