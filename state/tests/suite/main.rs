//! All tests of stores, logs and elections in one program: each program more would be compiled and linked by itself.

#[cfg(all(feature = "etcd", feature = "s3"))]
mod certificates;
mod contract;
mod election;
mod files;
mod linked;
mod processes;
#[cfg(all(feature = "etcd", feature = "s3"))]
mod remote;
#[cfg(all(feature = "etcd", feature = "s3"))]
mod servers;
mod stores;
mod threads;
