//! Reading state that was written as an earlier version of its type.
//!
//! State is stored as MessagePack arrays, whose places mean fields by the schema that is stored beside them. Where the
//! program's type is another one by now, each row is written anew with the names of that schema, and read by name: a
//! field that is gone is passed over, a new one takes its default, numbers may have grown wider, and what has become an
//! option is one that is there. Everything else needs a migration: a function from the old form of a struct or enum,
//! found by its name, to the new one. What serde can't tell what it is made of is the same as long as its name is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use rmpv::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_reflection::{ContainerFormat, Format, Named, VariantFormat};

use crate::ids::OperatorUid;
use crate::schema::{Schema, Shape, name_of};

/// Makes a value's present form of its old one, both with the names of their fields.
type Migrate = dyn Fn(&[u8]) -> Result<Vec<u8>, String> + Send + Sync;

/// Functions from old forms of state to present ones, by the name of the type, for state of one operator or of all.
#[derive(Clone, Default)]
pub struct Migrations(BTreeMap<(Option<OperatorUid>, String), Arc<Migrate>>);

/// Those for one operator's state.
pub(crate) type Applying<'a> = BTreeMap<&'a str, &'a Migrate>;

/// Names that are shown to whoever has given one that isn't there.
const NAMES_SHOWN: usize = 5;

impl Migrations {
    /// Where a value of the named type was written, in one operator's state or in any, it is read as `Old`, and
    /// `migrate` makes of it what the program has in its place.
    pub fn add<Old, New>(
        &mut self,
        operator: Option<OperatorUid>,
        type_name: &str,
        migrate: impl Fn(Old) -> New + Send + Sync + 'static,
    ) where
        Old: DeserializeOwned,
        New: Serialize,
    {
        let change = move |bytes: &[u8]| {
            let old: Old = rmp_serde::from_slice(bytes).map_err(|error| error.to_string())?;
            rmp_serde::to_vec_named(&migrate(old)).map_err(|error| error.to_string())
        };
        let name = type_name.to_owned();
        self.0.insert((operator, name), Arc::new(change));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those for an operator's state; one that names it goes before one that doesn't.
    pub(crate) fn of(&self, operator: &OperatorUid) -> Applying<'_> {
        let functions = self.0.iter();
        let own = functions.filter(|((of, _), _)| of.is_none() || of.as_ref() == Some(operator));
        own.map(|((_, name), migrate)| (&**name, &**migrate))
            .collect()
    }

    /// Refuses functions for types that aren't there; `named` are those with names in each operator's keyed state.
    ///
    /// # Errors
    /// One line that names the function, and what there is.
    pub fn check(&self, named: &BTreeMap<OperatorUid, BTreeSet<String>>) -> Result<(), String> {
        for (of, name) in self.0.keys() {
            let states = named.iter();
            let states = states.filter(|(uid, _)| of.as_ref().is_none_or(|of| of == *uid));
            let names: BTreeSet<&String> = states.flat_map(|(_, names)| names).collect();
            if names.contains(name) {
                continue;
            }
            let mut near: Vec<_> = names.into_iter().map(|n| (distance(name, n), n)).collect();
            near.sort();
            let near = near.iter().take(NAMES_SHOWN);
            let near: Vec<String> = near.map(|(_, name)| format!("\"{name}\"")).collect();
            let (call, state) = match of {
                Some(of) => (
                    format!("migrate_state_of(\"{of}\", \"{name}\", ..)"),
                    format!("keyed state of operator \"{of}\""),
                ),
                None => (format!("migrate(\"{name}\", ..)"), "keyed state".to_owned()),
            };
            let mend = match near.len() {
                0 => "leave it out".to_owned(),
                _ => format!(
                    "name one of those that are there, such as {}",
                    near.join(", ")
                ),
            };
            return Err(format!(
                ".{call}: no type in {state} of the savepoint has that name: {mend}"
            ));
        }
        Ok(())
    }
}

/// How many letters are to be put in, taken out or changed to make one name of another.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let changed = corner + usize::from(a != *b);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

impl fmt::Debug for Migrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The way from rows of an old schema to the present one.
pub(crate) struct Evolution<'a> {
    shape: &'a Shape,
    migrations: Applying<'a>,
}

impl<'a> Evolution<'a> {
    /// None if the rows are read as they are.
    ///
    /// # Errors
    /// What differs that can't be read, and where.
    pub(crate) fn between(
        written: &'a Schema,
        own: &Schema,
        migrations: Applying<'a>,
    ) -> Result<Option<Self>, String> {
        let shape = &written.shape;
        let migrated = |name: &String| migrations.contains_key(&**name);
        if written.reads_as(own) && !written.names().iter().any(migrated) {
            return Ok(None);
        }
        let mut comparison = Comparison {
            written: shape,
            own: &own.shape,
            migrations: &migrations,
            compared: BTreeSet::new(),
        };
        comparison.row()?;
        Ok(Some(Self { shape, migrations }))
    }

    /// A row as it is to be read: its key, which is as it was, and its value with names.
    pub(crate) fn row(&self, body: &[u8]) -> Result<Vec<u8>, String> {
        let mut rest = body;
        read(&mut rest)?;
        let mut out = body[..body.len() - rest.len()].to_vec();
        let value = read(&mut rest)?;
        let value = match &self.shape.root {
            Format::Tuple(parts) if parts.len() == 2 => self.named(&parts[1], value)?,
            _ => value,
        };
        write(&mut out, &value)?;
        Ok(out)
    }

    fn named(&self, format: &Format, value: Value) -> Result<Value, String> {
        Ok(match (format, value) {
            (Format::TypeName(name), value) => {
                let value = match self.shape.containers.get(name) {
                    Some(container) => self.container(container, value)?,
                    None => value,
                };
                match self.migrations.get(&**name) {
                    Some(migrate) => {
                        let mut bytes = Vec::new();
                        write(&mut bytes, &value)?;
                        read(&mut &migrate(&bytes)?[..])?
                    }
                    None => value,
                }
            }
            (Format::Option(_), Value::Nil) => Value::Nil,
            (Format::Option(inner), value) => self.named(inner, value)?,
            (Format::Seq(inner), Value::Array(items)) => {
                let items = items.into_iter().map(|item| self.named(inner, item));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            (Format::TupleArray { content, .. }, Value::Array(items)) => {
                let items = items.into_iter().map(|item| self.named(content, item));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            (Format::Map { key, value }, Value::Map(entries)) => {
                let entries = entries
                    .into_iter()
                    .map(|(k, v)| Ok((self.named(key, k)?, self.named(value, v)?)));
                Value::Map(entries.collect::<Result<_, String>>()?)
            }
            (Format::Tuple(parts), Value::Array(items)) => self.tuple(parts, items)?,
            (_, value) => value,
        })
    }

    fn container(&self, container: &ContainerFormat, value: Value) -> Result<Value, String> {
        Ok(match (container, value) {
            (ContainerFormat::NewTypeStruct(inner), value) => self.named(inner, value)?,
            (ContainerFormat::TupleStruct(parts), Value::Array(items)) => {
                self.tuple(parts, items)?
            }
            (ContainerFormat::Struct(fields), Value::Array(items)) => self.fields(fields, items)?,
            (ContainerFormat::Enum(variants), Value::Map(mut entries)) if entries.len() == 1 => {
                let (name, content) = entries.remove(0);
                let variant = variants.values().find(|v| Some(&*v.name) == name.as_str());
                let content = match (variant.map(|variant| &variant.value), content) {
                    (Some(VariantFormat::NewType(inner)), content) => self.named(inner, content)?,
                    (Some(VariantFormat::Tuple(parts)), Value::Array(items)) => {
                        self.tuple(parts, items)?
                    }
                    (Some(VariantFormat::Struct(fields)), Value::Array(items)) => {
                        self.fields(fields, items)?
                    }
                    (_, content) => content,
                };
                Value::Map(vec![(name, content)])
            }
            (_, value) => value,
        })
    }

    fn tuple(&self, parts: &[Format], items: Vec<Value>) -> Result<Value, String> {
        let items = parts.iter().zip(items);
        let items = items.map(|(format, item)| self.named(format, item));
        Ok(Value::Array(items.collect::<Result<_, _>>()?))
    }

    fn fields(&self, fields: &[Named<Format>], items: Vec<Value>) -> Result<Value, String> {
        let fields = fields.iter().zip(items).map(|(field, item)| {
            let name = Value::from(field.name.as_str());
            Ok((name, self.named(&field.value, item)?))
        });
        Ok(Value::Map(fields.collect::<Result<_, String>>()?))
    }
}

fn read(bytes: &mut &[u8]) -> Result<Value, String> {
    rmpv::decode::read_value(bytes).map_err(|error| error.to_string())
}

fn write(out: &mut Vec<u8>, value: &Value) -> Result<(), String> {
    rmpv::encode::write_value(out, value).map_err(|error| error.to_string())
}

/// Looks for what can't be read.
struct Comparison<'a> {
    written: &'a Shape,
    own: &'a Shape,
    migrations: &'a Applying<'a>,
    /// Pairs of named types that have been compared, or are being: types may hold themselves.
    compared: BTreeSet<(String, String)>,
}

impl Comparison<'_> {
    fn row(&mut self) -> Result<(), String> {
        let (Format::Tuple(written), Format::Tuple(own)) = (&self.written.root, &self.own.root)
        else {
            return self.values("the whole", &self.written.root, &self.own.root);
        };
        let ([key, value], [own_key, own_value]) = (&written[..], &own[..]) else {
            return self.values("the whole", &self.written.root, &self.own.root);
        };
        if !self.is_same(key, own_key) {
            return Err(format!(
                "its key was {} and is {}, and state is found by its key",
                name_of(key),
                name_of(own_key)
            ));
        }
        self.values("it", value, own_value)
    }

    /// Whether two formats are the same to the last field.
    fn is_same(&self, written: &Format, own: &Format) -> bool {
        let mut schemas = [(self.written, written), (self.own, own)].map(|(shape, root)| {
            let mut names = BTreeSet::new();
            reach(shape, root, &mut names);
            let containers = names.into_iter();
            let containers =
                containers.filter_map(|name| Some((name, shape.containers.get(name)?)));
            (root, containers.collect::<BTreeMap<_, _>>())
        });
        let own = std::mem::replace(&mut schemas[1], (written, BTreeMap::new()));
        schemas[0] == own
    }

    fn values(&mut self, what: &str, written: &Format, own: &Format) -> Result<(), String> {
        match (written, own) {
            (Format::TypeName(name), _) if self.migrations.contains_key(&**name) => Ok(()),
            (Format::TypeName(old), Format::TypeName(new)) => self.named(old, new),
            (Format::Option(old), Format::Option(new)) | (Format::Seq(old), Format::Seq(new)) => {
                self.values(what, old, new)
            }
            // What is there is there as an option too.
            (old, Format::Option(new)) => self.values(what, old, new),
            (
                Format::Map { key, value },
                Format::Map {
                    key: new_key,
                    value: new_value,
                },
            ) => {
                self.values(what, key, new_key)?;
                self.values(what, value, new_value)
            }
            (Format::Tuple(old), Format::Tuple(new)) if old.len() == new.len() => old
                .iter()
                .zip(new)
                .try_for_each(|(old, new)| self.values(what, old, new)),
            (
                Format::TupleArray { content, size },
                Format::TupleArray {
                    content: new,
                    size: new_size,
                },
            ) if size == new_size => self.values(what, content, new),
            (old, new) if old == new || is_wider(old, new) => Ok(()),
            (old, new) => Err(format!(
                "{what} was {} and is {}",
                name_of(old),
                name_of(new)
            )),
        }
    }

    fn named(&mut self, old: &str, new: &str) -> Result<(), String> {
        if !self.compared.insert((old.to_owned(), new.to_owned())) {
            return Ok(());
        }
        let (written, own) = (self.written, self.own);
        let (Some(written), Some(own)) = (written.containers.get(old), own.containers.get(new))
        else {
            // Of one of them no more is known than its name.
            return match old == new {
                true => Ok(()),
                false => Err(format!("what was {old} is {new}")),
            };
        };
        match (written, own) {
            (ContainerFormat::Struct(fields), ContainerFormat::Struct(new_fields)) => {
                self.fields(old, fields, new_fields)
            }
            (ContainerFormat::NewTypeStruct(old_inner), ContainerFormat::NewTypeStruct(inner)) => {
                self.values(&format!("what {old} holds"), old_inner, inner)
            }
            (ContainerFormat::TupleStruct(parts), ContainerFormat::TupleStruct(new_parts))
                if parts.len() == new_parts.len() =>
            {
                let mut parts = parts.iter().zip(new_parts);
                let what = format!("a part of {old}");
                parts.try_for_each(|(part, new)| self.values(&what, part, new))
            }
            (ContainerFormat::UnitStruct, ContainerFormat::UnitStruct) => Ok(()),
            (ContainerFormat::Enum(variants), ContainerFormat::Enum(new_variants)) => {
                for variant in variants.values() {
                    let same = new_variants.values().find(|new| new.name == variant.name);
                    match same {
                        Some(new) => self.variant(old, variant, &new.value)?,
                        // Of some enums not all variants are known.
                        None if self.own.partly_known.contains(new) => {}
                        None => {
                            return Err(format!("variant \"{}\" of {old} is gone", variant.name));
                        }
                    }
                }
                Ok(())
            }
            _ => Err(format!("{old} was of another kind than {new} is")),
        }
    }

    fn fields(
        &mut self,
        of: &str,
        written: &[Named<Format>],
        own: &[Named<Format>],
    ) -> Result<(), String> {
        for field in written {
            if let Some(new) = own.iter().find(|new| new.name == field.name) {
                let what = format!("field \"{}\" of {of}", field.name);
                self.values(&what, &field.value, &new.value)?;
            }
        }
        Ok(())
    }

    fn variant(
        &mut self,
        of: &str,
        written: &Named<VariantFormat>,
        own: &VariantFormat,
    ) -> Result<(), String> {
        let what = format!("variant \"{}\" of {of}", written.name);
        match (&written.value, own) {
            (VariantFormat::Unit, VariantFormat::Unit) => Ok(()),
            (VariantFormat::NewType(old), VariantFormat::NewType(new)) => {
                self.values(&what, old, new)
            }
            (VariantFormat::Tuple(old), VariantFormat::Tuple(new)) if old.len() == new.len() => old
                .iter()
                .zip(new)
                .try_for_each(|(old, new)| self.values(&what, old, new)),
            (VariantFormat::Struct(old), VariantFormat::Struct(new)) => {
                self.fields(&what, old, new)
            }
            _ => Err(format!("{what} holds other things")),
        }
    }
}

/// Names of all types that a format holds.
fn reach<'a>(shape: &'a Shape, format: &'a Format, names: &mut BTreeSet<&'a str>) {
    use serde_reflection::FormatHolder;
    let mut open = vec![format];
    while let Some(format) = open.pop() {
        let _ = format.visit(&mut |part| {
            if let Format::TypeName(name) = part
                && names.insert(name)
                && let Some(container) = shape.containers.get(name)
            {
                let _ = container.visit(&mut |inner| {
                    open.push(inner);
                    Ok(())
                });
            }
            Ok(())
        });
    }
}

/// Whether every number of one format is one of another.
fn is_wider(written: &Format, own: &Format) -> bool {
    let unsigned = |format: &Format| match format {
        Format::U8 => Some(8),
        Format::U16 => Some(16),
        Format::U32 => Some(32),
        Format::U64 => Some(64),
        _ => None,
    };
    let signed = |format: &Format| match format {
        Format::I8 => Some(8),
        Format::I16 => Some(16),
        Format::I32 => Some(32),
        Format::I64 => Some(64),
        _ => None,
    };
    match (
        unsigned(written),
        unsigned(own),
        signed(written),
        signed(own),
    ) {
        (Some(old), Some(new), ..) | (_, _, Some(old), Some(new)) => old <= new,
        (Some(old), _, _, Some(new)) => old < new,
        _ => (written, own) == (&Format::F32, &Format::F64),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use uuid::Uuid;

    use super::*;
    use crate::codec;

    /// The state as it was.
    mod before {
        use super::*;

        #[derive(Debug, Serialize, Deserialize)]
        pub struct Session {
            pub started: i64,
            pub pages: Vec<Page>,
            pub gone: String,
        }

        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub struct Page {
            pub path: String,
            pub times: u32,
            pub how: How,
        }

        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub enum How {
            Typed,
            Linked { from: String },
        }
    }

    fn session() -> before::Session {
        let page = |path: &str, how| before::Page {
            path: path.to_owned(),
            times: 3,
            how,
        };
        let from = "/".to_owned();
        before::Session {
            started: 7,
            pages: vec![
                page("/", before::How::Typed),
                page("/a", before::How::Linked { from }),
            ],
            gone: "gone".to_owned(),
        }
    }

    /// The session as another version of the program reads it.
    fn read_as<New: DeserializeOwned>(migrations: &Migrations) -> Result<New, String> {
        let mut body = codec::encode(&"key").unwrap();
        codec::encode_into(&session(), &mut body).unwrap();
        let (written, own) = (
            Schema::of::<(String, before::Session)>(),
            Schema::of::<(String, New)>(),
        );
        // As it comes back from where it was stored.
        let written: Schema = codec::decode(&codec::encode(&written).unwrap()).unwrap();
        let migrations = migrations.of(&"sessions".into());
        let body = match Evolution::between(&written, &own, migrations)? {
            Some(evolution) => evolution.row(&body)?,
            None => body,
        };
        let mut body = &body[..];
        let key: String = codec::decode_prefix(&mut body).unwrap();
        assert_eq!(key, "key");
        let value = codec::decode_prefix(&mut body);
        value.map_err(|error| format!("{:#}", anyhow_like(&error)))
    }

    fn anyhow_like(error: &dyn std::error::Error) -> String {
        let source = error.source().map(ToString::to_string);
        format!("{error}: {}", source.unwrap_or_default())
    }

    #[test]
    fn fields_come_and_go_numbers_grow_and_values_become_options() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Session {
            #[serde(default)]
            user: Option<String>,
            pages: Vec<Page>,
            started: Option<i64>,
        }
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Page {
            how: How,
            times: u64,
            path: String,
            #[serde(default = "seven")]
            weight: u8,
        }
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        enum How {
            Guessed,
            Linked {
                from: String,
                #[serde(default)]
                anchor: String,
            },
            Typed,
        }
        fn seven() -> u8 {
            7
        }
        let page = |path: &str, how| Page {
            how,
            times: 3,
            path: path.to_owned(),
            weight: 7,
        };
        let linked = How::Linked {
            from: "/".to_owned(),
            anchor: String::new(),
        };
        let expected = Session {
            user: None,
            pages: vec![page("/", How::Typed), page("/a", linked)],
            started: Some(7),
        };
        assert_eq!(read_as::<Session>(&Migrations::default()), Ok(expected));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Narrow {
            started: i32,
        }
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Renamed {
            pages: Vec<String>,
        }
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Needs {
            started: i64,
            user: String,
        }
        let none = Migrations::default();
        let refused = read_as::<Narrow>(&none).unwrap_err();
        assert_eq!(refused, "field \"started\" of Session was i64 and is i32");
        let refused = read_as::<Renamed>(&none).unwrap_err();
        assert_eq!(refused, "field \"pages\" of Session was Page and is String");
        let refused = read_as::<Needs>(&none).unwrap_err();
        assert!(refused.contains("missing field `user`"), "{refused}");
    }

    #[test]
    fn a_migration_takes_what_was_and_gives_what_is_wherever_it_stands() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Session {
            started: i64,
            pages: Vec<String>,
        }
        let mut migrations = Migrations::default();
        migrations.add(None, "Page", |page: before::Page| {
            format!("{}x{}", page.path, page.times)
        });
        let read = read_as::<Session>(&migrations).unwrap();
        assert_eq!(read.pages, ["/x3", "/ax3"]);
    }

    #[test]
    fn a_key_stays_as_it_is() {
        let written = Schema::of::<(u32, u32)>();
        let own = Schema::of::<(u64, u32)>();
        let refused = Evolution::between(&written, &own, Applying::new());
        let refused = refused.err().unwrap();
        assert!(refused.contains("its key was u32 and is u64"), "{refused}");
    }

    #[test]
    fn what_serde_cannot_tell_is_read_as_it_is_only_under_its_own_name() {
        #[derive(Serialize, Deserialize)]
        struct Narrow {
            started: i32,
        }
        let between = |written: Schema, own: Schema| {
            let evolution = Evolution::between(&written, &own, Applying::new());
            evolution.map(|evolution| evolution.is_some())
        };
        let of_session = Schema::of_rows::<Uuid, before::Session>;
        assert_eq!(between(of_session(), of_session()), Ok(false));
        // Beside an opaque key a value is known to its last field.
        let refused = between(of_session(), Schema::of_rows::<Uuid, Narrow>());
        assert_eq!(
            refused.unwrap_err(),
            "field \"started\" of Session was i64 and is i32"
        );
        let refused = between(
            Schema::of_rows::<u32, Uuid>(),
            Schema::of_rows::<u32, Vec<Uuid>>(),
        );
        assert_eq!(refused.unwrap_err(), "what was Uuid is Vec<Uuid>");
        let refused = between(
            Schema::of_rows::<Uuid, u32>(),
            Schema::of_rows::<String, u32>(),
        );
        assert!(
            refused
                .unwrap_err()
                .contains("its key was Uuid and is String")
        );
    }

    #[test]
    fn a_function_for_one_operator_is_no_other_operators() {
        let mut migrations = Migrations::default();
        let to = |what: &'static str| move |page: before::Page| format!("{what}{}", page.path);
        migrations.add(Some("visits".into()), "Page", to("visits"));
        migrations.add(None, "Page", to("any"));
        migrations.add(Some("clicks".into()), "How", |how: before::How| how);
        for (operator, names) in [("visits", vec!["Page"]), ("clicks", vec!["How", "Page"])] {
            let own = migrations.of(&operator.into());
            assert_eq!(own.keys().copied().collect::<Vec<_>>(), names);
        }
        let page = rmp_serde::to_vec_named(&session().pages[0]).unwrap();
        for (operator, path) in [("visits", "visits/"), ("clicks", "any/")] {
            let migrated = migrations.of(&operator.into())["Page"](&page).unwrap();
            assert_eq!(rmp_serde::from_slice::<String>(&migrated).unwrap(), path);
        }
    }

    #[test]
    fn a_function_for_a_type_that_is_not_there_is_refused_and_the_nearest_name_shown_first() {
        let named = |of: &[(&str, &[&str])]| -> BTreeMap<OperatorUid, BTreeSet<String>> {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            of.iter()
                .map(|(operator, all)| ((*operator).into(), names(all)))
                .collect()
        };
        let named = named(&[("sums", &["Account", "Total"]), ("visits", &["Page"])]);
        let check = |operator: Option<&str>, name: &str| {
            let mut migrations = Migrations::default();
            migrations.add(operator.map(Into::into), name, |old: u32| old);
            migrations.check(&named)
        };
        assert_eq!(check(None, "Total"), Ok(()));
        assert_eq!(check(Some("sums"), "Total"), Ok(()));
        assert_eq!(
            check(None, "Totla").unwrap_err(),
            ".migrate(\"Totla\", ..): no type in keyed state of the savepoint has that name: name one of those that are \
             there, such as \"Total\", \"Page\", \"Account\""
        );
        let refused = check(Some("visits"), "Total").unwrap_err();
        assert!(
            refused.starts_with(".migrate_state_of(\"visits\", \"Total\", ..)")
                && refused.ends_with("such as \"Page\""),
            "{refused}"
        );
        assert!(
            check(Some("vists"), "Page")
                .unwrap_err()
                .ends_with("leave it out")
        );
    }
}
