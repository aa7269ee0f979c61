//! Writing a value anew, with the names that its schema has for its fields.

use rmpv::Value;
use serde_reflection::{ContainerFormat, Format, Named, VariantFormat};

use super::Evolution;
use super::migrations::Applying;

impl Evolution<'_> {
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

    /// A value without a key as it is to be read.
    pub(crate) fn value(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        write(
            &mut out,
            &self.named(&self.shape.root, read(&mut &bytes[..])?)?,
        )?;
        Ok(out)
    }

    fn named(&self, format: &Format, value: Value) -> Result<Value, String> {
        Ok(match (format, value) {
            (Format::TypeName(name), value) => {
                let container = self.shape.containers.get(name);
                let Some(migration) = self.migrations.get(&**name) else {
                    return match container {
                        Some(container) => self.container(container, value),
                        None => Ok(value),
                    };
                };
                // The function takes the whole as it was, with what it holds.
                let as_it_was = Evolution {
                    shape: self.shape,
                    migrations: Applying::new(),
                };
                let value = match container {
                    Some(container) => as_it_was.container(container, value)?,
                    None => value,
                };
                let mut bytes = Vec::new();
                write(&mut bytes, &value)?;
                read(&mut &migration.migrate(&bytes)?[..])?
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
