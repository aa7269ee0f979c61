//! rivus-macros
