//! rivus-state
