//! Comparing what was written with what the program has: whether one can be read as the other.

use std::collections::{BTreeMap, BTreeSet};

use serde_reflection::{ContainerFormat, Format, Named, VariantFormat};

use super::migrations::Applying;
use crate::schema::{Shape, name_of};

/// Finds what can't be read of rows.
pub(super) fn rows(written: &Shape, own: &Shape, migrations: &Applying<'_>) -> Result<(), String> {
    Comparison::new(written, own, migrations).row()
}

/// Finds what can't be read of a value without a key.
pub(super) fn value(written: &Shape, own: &Shape, migrations: &Applying<'_>) -> Result<(), String> {
    Comparison::new(written, own, migrations).values("it", &written.root, &own.root)
}

/// Looks for what can't be read.
struct Comparison<'a> {
    written: &'a Shape,
    own: &'a Shape,
    migrations: &'a Applying<'a>,
    /// Pairs of named types that have been compared, or are being: types may hold themselves.
    compared: BTreeSet<(String, String)>,
}

impl<'a> Comparison<'a> {
    fn new(written: &'a Shape, own: &'a Shape, migrations: &'a Applying<'a>) -> Self {
        Self {
            written,
            own,
            migrations,
            compared: BTreeSet::new(),
        }
    }

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
