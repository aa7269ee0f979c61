//! Development driver of `rivus bench`; goes when the binary has it.
use clap::Parser;

#[path = "/work/main/src/cli/bench/mod.rs"]
mod bench;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: bench::Args,
}

fn main() -> anyhow::Result<()> {
    bench::run(Cli::parse().args)
}
