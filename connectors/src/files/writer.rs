//! Writes one subtask's parts.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use rivus_core::{CheckpointId, Event, ParallelInstance, Record, SinkWriter, UserError};
use serde::{Deserialize, Serialize};

use super::committer::FileCommittable;
use super::layout::{Found, Layout, create_directory, sync_directory};
use super::part::{Making, Part, remove};
use super::rolling::RollingPolicy;
use super::sink_error::FileSinkError;

/// What a checkpoint knows of a writer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "rivus.FileWriterState")]
pub struct FileWriterState {
    /// The job whose writer it is the state of, as in its files' names.
    pub job: String,
    /// Which of its writers.
    pub subtask: u32,
    /// Number of the open part, else of the next one. Lower ones are committed or about to be.
    pub sequence: u64,
    /// The part that stays open over the checkpoint.
    pub open: Option<OpenPart>,
}

/// A part that stays open over a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "rivus.OpenPart")]
pub struct OpenPart {
    /// Where it is in progress.
    pub path: PathBuf,
    /// Where it would be committed.
    pub committed: PathBuf,
    /// How many of its bytes were written before the barrier.
    pub valid_len: u64,
}

impl OpenPart {
    /// The file, and where it is. When a job goes back behind a savepoint or a commit, what was open then has been prepared or
    /// committed since; and if its own job still runs, that may happen just now. It is looked for in the order of its moves.
    pub(super) fn find(&self) -> io::Result<(File, PathBuf)> {
        let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let open = |path: PathBuf| File::open(&path).map(|file| (file, path));
        match open(self.path.clone()) {
            Err(error) if is_gone(&error) => {}
            found => return found,
        }
        match open(Layout::prepared(&self.path)) {
            Err(error) if is_gone(&error) => open(self.committed.clone()),
            found => found,
        }
    }
}

/// Fills parts, closes them by the policy, and hands them over at barriers.
pub struct FileWriter<T> {
    layout: Layout,
    making: Making<T>,
    rolling: RollingPolicy,
    attempt: u32,
    /// Number of the next part.
    next: u64,
    /// The one that was written to last comes last. Without folders one at the most.
    open: Vec<InFolder<T>>,
    /// Closed since the last barrier.
    closed: Vec<FileCommittable>,
    /// Whether names were added since the directory was synced.
    created: bool,
}

/// An open part, and where it is to appear.
struct InFolder<T> {
    /// Empty: in the directory itself.
    folder: String,
    part: Part<T>,
}

/// Parts that are open at a time.
const MOST_OPEN: usize = 64;

/// What a starting writer does first.
#[derive(Debug, PartialEq, Eq)]
struct Start {
    /// Leftovers that no checkpoint needs.
    remove: Vec<PathBuf>,
    /// Number of its first part.
    sequence: u64,
}

impl<T> FileWriter<T> {
    pub(super) fn start(
        layout: Layout,
        making: Making<T>,
        rolling: RollingPolicy,
        instance: ParallelInstance,
        state: Option<FileWriterState>,
    ) -> Result<Self, FileSinkError> {
        let directory = |source| FileSinkError::Directory {
            path: layout.dir.clone(),
            source,
        };
        create_directory(&layout.dir)?;
        let attempt = instance.attempt;
        let start = plan(&layout, attempt, state.as_ref(), &layout.find()?);
        for leftover in &start.remove {
            remove(leftover).map_err(directory)?;
        }
        let mut writer = Self {
            layout,
            making,
            rolling,
            attempt,
            next: start.sequence,
            open: Vec::new(),
            closed: Vec::new(),
            created: false,
        };
        if let Some(state) = state {
            writer.resume(state)?;
        }
        Ok(writer)
    }

    /// Goes on in a copy of the part that the checkpoint left open. It takes that one's place, unless that is another job's, which
    /// may still go on with it, or be gone on with.
    fn resume(&mut self, state: FileWriterState) -> Result<(), FileSinkError> {
        let Some(open) = state.open else {
            return Ok(());
        };
        let path = self.layout.in_progress(self.next, self.attempt);
        let mut part = Part::copy(path, self.next, &open, &self.making)?;
        if state.job == self.layout.job {
            part.replaces(open.path);
        }
        let folder = String::new();
        self.open.push(InFolder { folder, part });
        self.next += 1;
        self.created = true;
        Ok(())
    }

    /// The open part of a folder; begins one if there is none.
    fn part(&mut self, folder: &str) -> Result<&mut Part<T>, FileSinkError> {
        let found = self.open.iter().rposition(|open| open.folder == folder);
        let open = match found {
            Some(at) => self.open.remove(at),
            None => {
                if self.open.len() == MOST_OPEN {
                    self.roll(0)?;
                }
                let path = self.layout.in_progress(self.next, self.attempt);
                let part = Part::create(path, self.next, &self.making)?;
                self.next += 1;
                self.created = true;
                let folder = folder.to_owned();
                InFolder { folder, part }
            }
        };
        let last = self.open.len();
        self.open.push(open);
        Ok(&mut self.open[last].part)
    }

    /// Closes one of the open parts.
    fn roll(&mut self, at: usize) -> Result<(), FileSinkError> {
        let InFolder { folder, part } = self.open.remove(at);
        let committed = self.layout.committed(&folder, part.sequence);
        self.closed.push(part.close(committed)?);
        Ok(())
    }

    fn append(&mut self, run: &[Event<T>]) -> Result<(), FileSinkError> {
        let Some(folder_of) = self.making.folder.clone() else {
            return self.append_to("", run);
        };
        let folder_of = |event: &Event<T>| folder_of(&event.value, event.ts);
        let mut rest = run;
        while let Some((first, others)) = rest.split_first() {
            let folder = folder_of(first);
            if !is_folder(&folder) {
                return Err(FileSinkError::Folder {
                    given: folder,
                    dir: self.layout.dir.clone(),
                });
            }
            let same = others.iter().take_while(|event| folder_of(event) == folder);
            let (together, behind) = rest.split_at(1 + same.count());
            self.append_to(&folder, together)?;
            rest = behind;
        }
        Ok(())
    }

    fn append_to(&mut self, folder: &str, mut run: &[Event<T>]) -> Result<(), FileSinkError> {
        let max_bytes = self.rolling.max_bytes;
        while !run.is_empty() {
            let part = self.part(folder)?;
            let appended = part.append(run, max_bytes)?;
            run = &run[appended..];
            if part.len() >= max_bytes {
                self.roll(self.open.len() - 1)?;
            }
        }
        Ok(())
    }

    fn prepare(&mut self, last: bool) -> Result<Vec<FileCommittable>, FileSinkError> {
        if last || self.rolling.on_checkpoint {
            while !self.open.is_empty() {
                self.roll(0)?;
            }
        }
        for open in &mut self.open {
            open.part.sync()?;
        }
        if self.created {
            sync_directory(&self.layout.dir)?;
            self.created = false;
        }
        Ok(std::mem::take(&mut self.closed))
    }
}

/// Whether it is a folder below the directory, and none that looks like what is hidden there.
fn is_folder(name: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains('\0');
    name.split('/').all(is_name)
}

impl<T: Record> SinkWriter for FileWriter<T> {
    type In = T;
    type State = FileWriterState;
    type Committable = FileCommittable;

    fn write(&mut self, run: Vec<Event<T>>) -> Result<(), UserError> {
        self.append(&run).map_err(FileSinkError::into_user_error)
    }

    fn prepare_commit(
        &mut self,
        _checkpoint: CheckpointId,
        last: bool,
    ) -> Result<Vec<FileCommittable>, UserError> {
        self.prepare(last).map_err(FileSinkError::into_user_error)
    }

    fn snapshot(&mut self) -> Result<FileWriterState, UserError> {
        let open = self.open.first();
        Ok(FileWriterState {
            job: self.layout.job.clone(),
            subtask: self.layout.subtask,
            sequence: open.map_or(self.next, |open| open.part.sequence),
            open: open.map(|open| {
                let committed = self.layout.committed(&open.folder, open.part.sequence);
                open.part.open_part(committed)
            }),
        })
    }
}

/// What to remove and where to go on, by what the checkpoint knows and the directory holds of this job's subtask.
///
/// Removed is what its earlier attempts left in progress beyond the checkpoint; all of that, if the checkpoint is of another
/// job or subtask: then this one has none of its own yet. Kept are lower numbers (the checkpoint's committables, which may not be
/// committed yet), the part that the checkpoint left open (another recovery may need it), and whatever a later attempt has
/// begun (then this one is a zombie). What a savepoint may name isn't removed at all. Numbers go on behind the checkpoint's, whoever's
/// it is, and behind those of parts that are committed or that a savepoint may name, and that may still be committed.
/// Those of parts that bear its own attempt are passed, too: they are of a job that had this one's id before.
fn plan(layout: &Layout, attempt: u32, state: Option<&FileWriterState>, found: &Found) -> Start {
    let own = state.filter(|state| state.job == layout.job && state.subtask == layout.subtask);
    let beyond = own.map_or(0, |own| own.sequence);
    let open = own.and_then(|own| own.open.as_ref());
    let (remove, kept): (Vec<_>, Vec<_>) = found.in_progress.iter().partition(|part| {
        part.attempt < attempt
            && part.sequence >= beyond
            && open.is_none_or(|open| open.path != part.path)
    });
    let same_name = kept.iter().filter(|part| part.attempt == attempt);
    let taken = same_name
        .map(|part| part.sequence)
        .chain(found.committed.iter().copied())
        .chain(found.prepared.iter().copied());
    let sequence = taken
        .map(|taken| taken + 1)
        .fold(state.map_or(0, |state| state.sequence), u64::max);
    Start {
        remove: remove.into_iter().map(|part| part.path.clone()).collect(),
        sequence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::layout::InProgress;

    /// `start("attempt 2, state 3, open 3-1, progress 2-1 3-1 4-1, committed 0 1, prepared 3")`: what is removed and
    /// the first number. Parts are `sequence-attempt`; all of them are this job's, and the state is unless it is `foreign` (of
    /// another subtask) or `inherited` (of another job).
    fn start(picture: &str) -> String {
        let layout = Layout {
            dir: PathBuf::from("out"),
            prefix: "part".into(),
            extension: "txt".into(),
            job: "0badcafe".into(),
            subtask: 0,
            has_folders: false,
        };
        let pair = |part: &str| {
            let (sequence, attempt) = part.split_once('-').unwrap();
            (sequence.parse().unwrap(), attempt.parse().unwrap())
        };
        let numbers = |words: &[&str]| -> Vec<u64> {
            let numbers = words[1..].iter();
            numbers.map(|number| number.parse().unwrap()).collect()
        };
        let (mut attempt, mut state, mut open, mut found) = (1, None, None, Found::default());
        for fact in picture.split(", ") {
            let words: Vec<&str> = fact.split(' ').collect();
            match words[0] {
                "attempt" => attempt = words[1].parse().unwrap(),
                "state" => state = Some(("0badcafe", 0, words[1])),
                "foreign" => state = Some(("0badcafe", 9, words[1])),
                "inherited" => state = Some(("600df00d", 0, words[1])),
                "open" => {
                    let (sequence, attempt) = pair(words[1]);
                    open = Some(OpenPart {
                        path: layout.in_progress(sequence, attempt),
                        committed: layout.committed("", sequence),
                        valid_len: 1,
                    });
                }
                "progress" => found.in_progress.extend(words[1..].iter().map(|part| {
                    let (sequence, attempt) = pair(part);
                    let path = layout.in_progress(sequence, attempt);
                    InProgress {
                        path,
                        sequence,
                        attempt,
                    }
                })),
                "committed" => found.committed.extend(numbers(&words)),
                "prepared" => found.prepared.extend(numbers(&words)),
                other => panic!("{other}"),
            }
        }
        let state = state.map(|(job, subtask, sequence)| FileWriterState {
            job: job.to_owned(),
            subtask,
            sequence: sequence.parse().unwrap(),
            open: open.clone(),
        });
        let start = plan(&layout, attempt, state.as_ref(), &found);
        let mut shown = String::new();
        for path in &start.remove {
            let name = path.file_name().unwrap().to_str().unwrap();
            let name = name
                .trim_start_matches(".part-0badcafe-0-")
                .trim_end_matches(".inprogress");
            shown.push_str(&format!("-{name} "));
        }
        shown + &format!("first {}", start.sequence)
    }

    #[test]
    fn a_folder_is_below_the_directory_and_not_hidden() {
        for name in ["a", "day=1/hour=2", "a b", "a.b"] {
            assert!(is_folder(name), "{name}");
        }
        for name in [
            "", "/a", "a/", "a//b", "..", "a/../b", "./a", ".a", "a/.b", "a\0b",
        ] {
            assert!(!is_folder(name), "{name}");
        }
    }

    #[test]
    fn a_fresh_start_removes_what_earlier_attempts_left() {
        assert_eq!(start("attempt 1"), "first 0");
        assert_eq!(start("attempt 2, progress 0-1 1-1"), "-0-1 -1-1 first 0");
    }

    #[test]
    fn a_job_under_an_id_that_was_used_before_keeps_clear_of_what_is_there() {
        assert_eq!(start("attempt 1, committed 0 1 2"), "first 3");
        assert_eq!(start("attempt 1, committed 0, progress 1-1"), "first 2");
        assert_eq!(start("attempt 2, state 3, progress 3-2"), "first 4");
    }

    #[test]
    fn a_restored_writer_keeps_committables_and_removes_what_came_after() {
        assert_eq!(
            start("attempt 2, state 3, committed 0, progress 1-1 2-1 3-1 4-1"),
            "-3-1 -4-1 first 3"
        );
    }

    #[test]
    fn the_part_that_the_checkpoint_left_open_is_kept() {
        assert_eq!(
            start("attempt 3, state 3, open 3-1, progress 3-1 3-2 4-2"),
            "-3-2 -4-2 first 3"
        );
    }

    #[test]
    fn a_zombie_removes_nothing_of_a_later_attempt() {
        assert_eq!(start("attempt 2, state 3, progress 3-3 4-3"), "first 3");
    }

    #[test]
    fn going_back_behind_a_commit_uses_new_numbers() {
        assert_eq!(
            start("attempt 4, state 3, open 3-1, committed 3 4 5"),
            "first 6"
        );
    }

    #[test]
    fn going_back_behind_a_savepoint_leaves_what_it_names_and_uses_new_numbers() {
        assert_eq!(
            start("attempt 2, state 3, progress 5-1, prepared 3 4"),
            "-5-1 first 5"
        );
    }

    #[test]
    fn whoever_begins_with_the_state_of_another_numbers_on_and_removes_its_own_only() {
        for from in ["inherited", "foreign"] {
            let begins = format!("attempt 3, {from} 7, progress 7-1 8-2");
            assert_eq!(start(&begins), "-7-1 -8-2 first 7", "{from}");
        }
        assert_eq!(start("attempt 1, inherited 3, committed 7"), "first 8");
    }
}
