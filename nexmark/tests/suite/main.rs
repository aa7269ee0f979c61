//! Each query beside a plain reading of its question, on both backends, with and without failures.

mod queries;
mod reference;
mod shape;
mod world;
