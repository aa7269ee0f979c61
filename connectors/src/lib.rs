//! rivus-connectors
