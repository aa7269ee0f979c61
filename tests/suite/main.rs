//! All tests of whole jobs in one program: each program more would be compiled and linked against everything again.

#![allow(clippy::duplicate_mod)] // examples have some of their files in common

mod aligned;
mod architecture;
mod async_io;
mod backends;
#[path = "../../state/tests/suite/certificates.rs"]
mod certificates;
mod changed_jobs;
mod cluster;
mod command_lines;
mod commands;
mod config;
#[cfg(all(feature = "etcd", feature = "s3"))]
mod cut_off;
mod cycles;
mod docs;
#[cfg(all(feature = "etcd", feature = "s3"))]
mod dying;
mod embedded;
mod end_to_end;
mod ending;
mod example_help;
mod example_services;
mod examples;
mod heard;
#[cfg(all(feature = "etcd", feature = "s3"))]
mod held;
mod held_back;
mod iterate;
mod job_pictures;
mod kept;
mod logs;
mod lost;
mod metrics;
mod mistakes;
mod one_folder;
mod operator_kit;
mod operator_state;
mod own_types;
mod partitions;
mod preaggregated;
mod processes;
mod queries;
mod query_joins;
#[cfg(all(feature = "etcd", feature = "s3"))]
mod quorum;
mod refused;
#[cfg(all(feature = "etcd", feature = "s3"))]
mod regions;
#[cfg(all(feature = "etcd", feature = "s3"))]
mod remote;
mod replaced;
mod rescale;
mod resume;
mod savepoints;
#[cfg(all(feature = "etcd", feature = "s3"))]
mod selves;
mod service;
mod silences;
mod standby;
mod store_files;
mod takeover;
mod telemetry;
mod terminal;
mod tls;
mod two_inputs;
mod unaligned;
mod waits;
mod watched;
mod written;
