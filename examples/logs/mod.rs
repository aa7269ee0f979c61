//! The logs that the examples read, line by line.

#![allow(dead_code)] // each example reads one of them

pub mod access;
pub mod sshd;
