//! The stable hash of keys of several shapes.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rivus::engine::core::key_hash;

fn key_hashes(c: &mut Criterion) {
    let mut group = c.benchmark_group("key_hash");
    group.throughput(Throughput::Elements(1));
    let long = "x".repeat(300);
    group.bench_function("13 bytes", |b| {
        b.iter(|| key_hash(black_box("user-00c0ffee")))
    });
    group.bench_function("300 bytes", |b| {
        b.iter(|| key_hash(black_box(long.as_str())))
    });
    group.bench_function("u64", |b| b.iter(|| key_hash(black_box(&42_u64))));
    group.bench_function("(string, u32)", |b| {
        b.iter(|| key_hash(black_box(&("user-00c0ffee", 7_u32))));
    });
    group.finish();
}

criterion_group!(benches, key_hashes);
criterion_main!(benches);
