//! Images of a database: hard links to its files, which never change, and a copy of what says how they hang together.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rivus_core::{EachPiece, Failure, ImageFile, OperatorUid, StoreImage};
use rocksdb::checkpoint::Checkpoint;

use super::process::Process;
use super::{FORMAT, Open};

/// Bytes of a file that are read at a time.
const PIECE: usize = 1 << 20;

/// A database's files at one moment. They go with this.
#[derive(Debug)]
pub(super) struct RocksImage {
    directory: PathBuf,
    files: Vec<ImageFile>,
    /// Goes last.
    _process: Arc<Process>,
}

impl Drop for RocksImage {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            let directory = self.directory.display();
            tracing::warn!(%directory, %error, "files that are not needed any more can't be removed");
        }
    }
}

impl RocksImage {
    /// Writes what the database has in memory, and links its files.
    pub(super) fn of(open: &Open, process: &Arc<Process>) -> Result<Self, Failure> {
        let directory = process.place_for_image();
        let checkpoint = Checkpoint::new(&open.db).map_err(|error| open.failed(&error))?;
        let made = checkpoint.create_checkpoint(&directory);
        made.map_err(|error| open.failed(&error))?;
        let mut image = Self {
            directory,
            files: Vec::new(),
            _process: Arc::clone(process),
        };
        image.files = image.list().map_err(|error| image.failed(&error))?;
        Ok(image)
    }

    fn list(&self) -> io::Result<Vec<ImageFile>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Options are the program's; in the log is nothing, for none is written.
            if !name.starts_with("OPTIONS-") && !name.ends_with(".log") {
                files.push(ImageFile {
                    is_lasting: is_table(&name),
                    bytes: entry.metadata()?.len(),
                    name,
                });
            }
        }
        files.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(files)
    }

    fn failed(&self, error: &io::Error) -> Failure {
        let directory = self.directory.display();
        Failure::attempt(format!("the files in {directory} can't be read: {error}"))
    }

    fn read(&self, file: &str, each: EachPiece<'_>) -> Result<(), Failure> {
        let failed = |error: io::Error| self.failed(&error);
        let mut file = File::open(self.directory.join(file)).map_err(failed)?;
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece).map_err(failed)? {
                0 => return Ok(()),
                read => each(&piece[..read])?,
            }
        }
    }
}

impl StoreImage for RocksImage {
    fn format(&self) -> &str {
        FORMAT
    }

    fn files(&self) -> &[ImageFile] {
        &self.files
    }

    fn read(&self, file: &str, each: EachPiece<'_>) -> Result<(), Failure> {
        Self::read(self, file, each)
    }

    fn on_disk(&self, file: &str) -> Option<PathBuf> {
        is_table(file).then(|| self.directory.join(file))
    }
}

/// Whether a file holds rows: such a one is written once and never changed.
fn is_table(name: &str) -> bool {
    name.ends_with(".sst") || name.ends_with(".blob")
}

/// Fills a database's directory with the files of an image: those that never change are linked if they lie on the same disk, in
/// another database or in a storage, else copied.
pub(super) fn lay_out(
    image: &dyn StoreImage,
    directory: &Path,
    operator: &OperatorUid,
) -> Result<(), Failure> {
    if image.format() != FORMAT {
        return Err(image.refused_by(operator, FORMAT));
    }
    let failed = |error: io::Error| {
        let directory = directory.display();
        Failure::attempt(format!(
            "state of operator {operator} can't be laid out in {directory}: {error}"
        ))
    };
    for file in image.files() {
        if file.name.contains(['/', '\\']) {
            return Err(Failure::attempt(format!(
                "a file of operator {operator} is named {:?}: the checkpoint is damaged",
                file.name
            )));
        }
        let to = directory.join(&file.name);
        if is_table(&file.name)
            && let Some(from) = image.on_disk(&file.name)
            && fs::hard_link(from, &to).is_ok()
        {
            continue;
        }
        let mut written = File::create(&to).map_err(failed)?;
        image.read(&file.name, &mut |piece| {
            io::Write::write_all(&mut written, piece).map_err(failed)
        })?;
    }
    Ok(())
}
