//! rivus-actors
