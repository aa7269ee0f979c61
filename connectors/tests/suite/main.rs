//! All tests of sources and sinks in one program: each program more would be compiled and linked by itself.

mod contract;
mod files;
mod parquet;
mod sink_contract;
mod socket;
mod source_contract;
