//! Rivus
