//! All tests of stores, logs and elections in one program: each program more would be compiled and linked by itself.

mod contract;
mod election;
mod files;
mod stores;
mod threads;
