//! rivus-operators
