//! How long a state takes to come back from its files, beside reading those files twice.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rivus::engine::core::job::{Manifest, StoredFiles};
use rivus::engine::core::{AttemptId, codec};
use rivus::engine::state::{CheckpointStorage, ObjectStorage, StateBackend, StoredImage};
use rivus::{RocksDbBackend, Storage};

use super::super::Setup;
use super::super::comparison::verdict;
use super::super::meter::{self, Reading};
use super::{Args, Scratch, filled};

pub(crate) async fn run(setup: &Setup, args: &Args) -> anyhow::Result<()> {
    println!(
        "\nstate: restore of {} keys of {} bytes from their files in a directory, {} MiB of memory",
        args.keys, args.value_bytes, args.memory
    );
    let directory = Scratch::new(args, "checkpoints")?;
    let storage = Storage::Directory(directory.path.clone());
    let interval = Duration::from_secs(5);
    let filled = filled(setup, args, 0, Some((interval, storage))).await?;
    let (mut job, id) = (filled.job.clone(), filled.job.id());
    let before = job.view().checkpoints;
    // Triggered after all keys were there.
    while job.view().checkpoints < before + 2 {
        job.changed().await?;
    }
    let checkpoint = job.view().last_checkpoint;
    let checkpoint = checkpoint.ok_or_else(|| anyhow::anyhow!("there is no checkpoint"))?;
    let checkpoints = CheckpointStorage::new(ObjectStorage::directory(&directory.path)?);
    let manifest: Manifest = codec::decode(&checkpoints.read_manifest(id, checkpoint)?)?;
    // A copy, for the job goes on and clears up behind itself.
    let copy = Scratch::new(args, "copy")?;
    for name in manifest.files() {
        let to = copy.path.join(name);
        std::fs::create_dir_all(to.parent().unwrap_or(&copy.path))?;
        std::fs::hard_link(directory.path.join(name), to)?;
    }
    filled.end().await;
    let stores: Vec<StoredFiles> = manifest.stores().cloned().collect();
    let files: Vec<PathBuf> = manifest.files().map(|name| copy.path.join(name)).collect();
    let checkpoints = CheckpointStorage::new(ObjectStorage::directory(&copy.path)?);
    for round in 0..args.rounds {
        forget(&files);
        let reading = Reading::take();
        let bytes = read_all(&files)?;
        let once = reading.used().wall;
        forget(&files);
        let reading = Reading::take();
        let backend = RocksDbBackend::new(args.directory())?.memory(args.memory << 20);
        let mut open = Vec::new();
        for (index, stored) in stores.iter().enumerate() {
            let subtask = *manifest
                .subtasks
                .keys()
                .nth(index)
                .ok_or_else(|| anyhow::anyhow!("more stores than subtasks"))?;
            let attempt = AttemptId {
                subtask,
                attempt: round + 2,
            };
            let image = StoredImage::new(checkpoints.clone(), stored);
            let stores = backend.stores(id, attempt);
            let store = stores.open(&stored.operator, Some(&image));
            open.push(store.map_err(|failure| anyhow::anyhow!(failure.message))?);
        }
        let restored = reading.used().wall;
        drop(open);
        println!(
            "  {} MiB in {} files: read in {:.2} s, restored in {:.2} s, {:.0} % of reading twice: {}",
            bytes >> 20,
            files.len(),
            once.as_secs_f64(),
            restored.as_secs_f64(),
            restored.as_secs_f64() / (2.0 * once.as_secs_f64()) * 100.0,
            verdict(restored <= 2 * once)
        );
        drop(backend);
        meter::quiet().await;
    }
    Ok(())
}

/// Lets the system forget what it has of files in memory, so that they come from the disk.
fn forget(files: &[PathBuf]) {
    for file in files {
        let of = format!("if={}", file.display());
        let _ = Command::new("dd")
            .args([&*of, "iflag=nocache", "count=0", "status=none"])
            .status();
    }
}

fn read_all(files: &[impl AsRef<Path>]) -> anyhow::Result<u64> {
    let mut piece = vec![0; 1 << 20];
    let mut bytes = 0;
    for file in files {
        let mut file = File::open(file)?;
        loop {
            match file.read(&mut piece)? {
                0 => break,
                read => bytes += read as u64,
            }
        }
    }
    Ok(bytes)
}
