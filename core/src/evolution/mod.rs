//! Reading state that was written as an earlier version of its type.
//!
//! State is stored as MessagePack arrays, whose places mean fields by the schema that is stored beside them. Where the
//! program's type is another one by now, each row, and what an operator keeps without a key, is written anew with the names of that schema, and read by name: a
//! field that is gone is passed over, a new one takes its default, numbers may have grown wider, and what has become an
//! option is one that is there. Everything else needs a migration: a function from the old form of a struct or enum,
//! found by its name, to the new one; where the form that was written is the present one already, it isn't asked. What serde can't tell what it is made of is the same as long as its name is.

mod compare;
mod migrations;
mod rewrite;

use self::migrations::Applying;
pub use self::migrations::Migrations;
use crate::schema::{Schema, Shape};

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
    pub(crate) fn of_rows(
        written: &'a Schema,
        own: &Schema,
        migrations: Applying<'a>,
    ) -> Result<Option<Self>, String> {
        Self::between(written, own, migrations, compare::rows)
    }

    /// The same of a value without a key.
    ///
    /// # Errors
    /// What differs that can't be read, and where.
    pub(crate) fn of_value(
        written: &'a Schema,
        own: &Schema,
        migrations: Applying<'a>,
    ) -> Result<Option<Self>, String> {
        Self::between(written, own, migrations, compare::value)
    }

    fn between(
        written: &'a Schema,
        own: &Schema,
        mut migrations: Applying<'a>,
        compare: impl FnOnce(&Shape, &Shape, &Applying<'_>) -> Result<(), String>,
    ) -> Result<Option<Self>, String> {
        if written.reads_as(own) {
            return Ok(None);
        }
        let (shape, names) = (&written.shape, own.names());
        // A type that the program has in the form that was written has been migrated already.
        migrations.retain(|name, _| {
            let present = own.shape.containers.get(*name);
            !names.contains(*name) || present != shape.containers.get(*name)
        });
        compare(shape, &own.shape, &migrations)?;
        Ok(Some(Self { shape, migrations }))
    }
}

#[cfg(test)]
mod tests;
