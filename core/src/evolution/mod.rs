//! Reading state that was written as an earlier version of its type.
//!
//! State is stored as MessagePack arrays, whose places mean fields by the schema that is stored beside them. Where the
//! program's type is another one by now, each row, and what an operator keeps without a key, is written anew with the names of
//! that schema, and read by name: a field that is gone is passed over, a new one takes its default, numbers may have grown
//! wider, and what has become an option is one that is there. Everything else needs a migration: a function from the old form
//! of a struct or enum to what the program has in its place. It is found by the type's name and by the form that it takes, so
//! that it may stay in the program: what has another form by now is none of its business. What serde can't tell what it is
//! made of is the same as long as its name is.

mod compare;
mod migrations;
mod rewrite;

pub use self::migrations::Migrations;
use self::migrations::{Applying, Candidates};
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
        migrations: Candidates<'a>,
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
        migrations: Candidates<'a>,
    ) -> Result<Option<Self>, String> {
        Self::between(written, own, migrations, compare::value)
    }

    fn between(
        written: &'a Schema,
        own: &Schema,
        candidates: Candidates<'a>,
        find: impl FnOnce(&Shape, &Shape, &Applying<'_>) -> Result<(), String>,
    ) -> Result<Option<Self>, String> {
        let partly = candidates.iter().map(|(name, _)| *name);
        let mut partly = partly.filter(|name| written.shape.partly_known.contains(*name));
        if let Some(name) = partly.next() {
            return Err(format!(
                "serde doesn't show all variants of {name}, so a function can't tell its forms apart: leave it out, and keep the \
                 variants as they are"
            ));
        }
        if written.reads_as(own) {
            return Ok(None);
        }
        let (names, own_names) = (written.names(), own.names());
        let (mut migrations, mut others) = (Applying::new(), Applying::new());
        for (name, migration) in candidates {
            if !names.contains(name) {
                continue;
            }
            let (form, old) = (written.of_name(name), (migration.old)());
            let is_kept = own_names.contains(name) && form.is_made_as(&own.of_name(name));
            if !form.is_made_as(&old) {
                // What `Old` could take all the same may be meant or not.
                if !is_kept && compare::value(&form.shape, &old.shape, &Applying::new()).is_ok() {
                    others.entry(name).or_insert(migration);
                }
                continue;
            }
            if is_kept {
                return Err(format!(
                    "a function makes something else of each {name}, and the program has {name} in it as it was, too: have the \
                     new type in all places, or leave the function out"
                ));
            }
            migrations.entry(name).or_insert(migration);
        }
        let mut others = others.iter();
        if let Some((name, other)) = others.find(|(name, _)| !migrations.contains_key(*name)) {
            return Err(format!(
                "the function for {name} takes {}, and {} was written, which is nearly that: have it take just that, names of types in it \
                 included, or leave it out",
                (other.old)(),
                written.of_name(name)
            ));
        }
        let shape = &written.shape;
        find(shape, &own.shape, &migrations)?;
        Ok(Some(Self { shape, migrations }))
    }
}

#[cfg(test)]
mod tests;
