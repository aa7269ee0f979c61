//! Each query beside a plain reading of its question, on both backends, with and without failures.

#![allow(clippy::unwrap_used)]

mod lines;
mod queries;
mod reference;
mod shape;
mod world;
