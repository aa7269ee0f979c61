//! The jobs that are run, and where their output goes.

mod aligned;
mod asking;
mod changed;
mod files;
mod functions;
mod lasting;
mod looping;
mod outside;
mod records;
mod refiring;
mod shape;
mod shapes;
mod shelf;
mod spec;
mod straight;
mod together;
mod two_inputs;
mod windows;
mod world;

pub use self::changed::{Change, Version, Versioned, versioned};
pub use self::files::lines;
pub use self::functions::{Line, SoFar, bucket_end, fold};
pub use self::records::Reading;
pub use self::refiring::REFIRED;
pub use self::shape::Shape;
pub use self::shapes::{ASKED, BUCKETS, SECOND, WINDOW, WINDOWS};
pub use self::spec::{Barriers, JobSpec, Region, Rows};
pub use self::straight::straightened;
pub use self::world::{Committed, World};
