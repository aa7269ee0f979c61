//! The contract of two-phase sinks.

use std::any::type_name;

use rivus_core::{
    CheckpointId, Event, Failure, ParallelInstance, Sink, SinkWriter, UserError, codec,
};

use super::script::Fate;
use super::sink_job::{SinkJob, number};

/// A contract that is about to be checked; see [`sink()`].
pub struct SinkContract<F, R> {
    make: F,
    record: R,
    cases: u64,
    lags: bool,
    ordered: bool,
}

/// Checks a two-phase sink. `make` makes one whose target is empty, and what shows the records that can be seen there,
/// in the order in which they were written; `record` makes the record of a number.
///
/// Jobs of one subtask write to it, in which checkpoints complete, are aborted and are cut short, attempts are lost,
/// come back as zombies, and are started anew from the last checkpoint or a savepoint. The clauses:
///
/// - a writer's state and committables outlive being encoded;
/// - nothing is seen before a checkpoint that covers it has completed;
/// - what a completed checkpoint covers is seen once its commits are done, unless it [`lags`](SinkContract::lags);
/// - each record is seen once and none is missing, in the order in which they were written, unless it is
///   [`unordered`](SinkContract::unordered);
/// - a commit may be done again, and whoever goes on after a crash undoes what the attempt before had written behind
///   the checkpoint;
/// - an attempt that was given up and still writes changes nothing;
/// - after the last checkpoint all is seen;
/// - whoever goes on from a savepoint finds what it names, also if the job that made it went back behind it meanwhile
///   ([`Committer::keep`](rivus_core::Committer::keep));
/// - whoever goes on from a savepoint with fewer writers, or more, loses nothing and repeats nothing, in whatever order: the
///   state of a writer that is no more is [let go of](Sink::retire).
///
/// ```
/// use rivus_connectors::{CollectSink, contract};
///
/// contract::sink(
///     || {
///         let sink = CollectSink::<u64>::new();
///         let collected = sink.collected();
///         (sink, move || collected.values())
///     },
///     |n| n,
/// )
/// .check();
/// ```
pub fn sink<S, V, F, R>(make: F, record: R) -> SinkContract<F, R>
where
    S: Sink,
    V: Fn() -> Vec<S::In>,
    F: Fn() -> (S, V),
    R: Fn(u64) -> S::In + Clone + 'static,
{
    SinkContract {
        make,
        record,
        cases: 96,
        lags: false,
        ordered: true,
    }
}

impl<F, R> SinkContract<F, R> {
    /// Tries so many jobs, instead of 96.
    #[must_use]
    pub fn cases(mut self, cases: u64) -> Self {
        self.cases = cases;
        self
    }

    /// What a checkpoint covers may be seen later, in order, and all of it after the last one: a file that is kept
    /// open until it is full.
    #[must_use]
    pub fn lags(mut self) -> Self {
        self.lags = true;
        self
    }

    /// The target keeps no order.
    #[must_use]
    pub fn unordered(mut self) -> Self {
        self.ordered = false;
        self
    }

    /// Checks it.
    ///
    /// # Panics
    /// If a clause is broken; says which, and what happened up to there.
    pub fn check<S, V>(self)
    where
        S: Sink,
        V: Fn() -> Vec<S::In>,
        F: Fn() -> (S, V),
        R: Fn(u64) -> S::In + Clone + 'static,
    {
        for case in 0..self.cases {
            self.play::<S, V>(&Fate::script(case));
        }
        self.rescale::<S, V>(true);
        self.rescale::<S, V>(false);
    }

    /// Two writers, then one, then three, each time from a savepoint of those before: of the same job, or of the one before.
    fn rescale<S, V>(&self, same_job: bool)
    where
        S: Sink,
        V: Fn() -> Vec<S::In>,
        F: Fn() -> (S, V),
        R: Fn(u64) -> S::In,
    {
        let (sink, seen) = (self.make)();
        let mut trial = Trial {
            name: type_name::<S>(),
            past: Vec::new(),
        };
        let (mut states, mut written) = (Vec::new(), 0);
        for (savepoint, parallelism) in (1..).zip([2, 1, 3]) {
            trial.past.push(format!("{parallelism} writers"));
            let (job, attempt) = match same_job {
                true => (1, savepoint),
                false => (savepoint, 1),
            };
            let first = ParallelInstance {
                job: number(job.into()),
                index: 0,
                parallelism,
                attempt,
            };
            let saved = self.save(&sink, first, savepoint, states, &mut written);
            states = trial.done(saved);
            let encoded = |record: &S::In| trial.done(codec::encode(record).map_err(Into::into));
            let mut found: Vec<Vec<u8>> = seen().iter().map(encoded).collect();
            let mut all: Vec<Vec<u8>> = (0..written).map(|n| encoded(&(self.record)(n))).collect();
            found.sort_unstable();
            all.sort_unstable();
            if found != all {
                trial.broken(
                    "whoever goes on with fewer writers, or more, loses nothing and repeats nothing",
                    &format!("{} records are seen and {written} written", found.len()),
                );
            }
        }
    }

    /// A job's writers go on from a savepoint with the states of those before, write, and come to the next one, whose commits are
    /// done. Returns their states, encoded.
    fn save<S>(
        &self,
        sink: &S,
        first: ParallelInstance,
        savepoint: u32,
        states: Vec<Vec<u8>>,
        written: &mut u64,
    ) -> Result<Vec<Vec<u8>>, UserError>
    where
        S: Sink,
        R: Fn(u64) -> S::In,
    {
        let mut states = states.into_iter();
        let mut writers = Vec::new();
        for index in 0..first.parallelism {
            let instance = ParallelInstance { index, ..first };
            let state = states.next().map(|state| codec::decode(&state));
            writers.push(sink.writer(instance, state.transpose()?)?);
        }
        for state in states {
            sink.retire(codec::decode(&state)?)?;
        }
        let (mut saved, mut committables) = (Vec::new(), Vec::new());
        for writer in &mut writers {
            let run = *written..*written + 3;
            *written = run.end;
            writer.write(run.map(|n| Event::at(n as i64, (self.record)(n))).collect())?;
            committables.extend(writer.prepare_commit(CheckpointId(savepoint.into()), true)?);
            saved.push(codec::encode(&writer.snapshot()?)?);
        }
        let committer = sink.committer();
        for committable in committables {
            committer
                .iter()
                .try_for_each(|all| all.commit(&committable))?;
        }
        Ok(saved)
    }

    fn play<S, V>(&self, script: &[Fate])
    where
        S: Sink,
        V: Fn() -> Vec<S::In>,
        F: Fn() -> (S, V),
        R: Fn(u64) -> S::In + Clone + 'static,
    {
        let (sink, seen) = (self.make)();
        let mut trial = Trial {
            name: type_name::<S>(),
            past: Vec::new(),
        };
        let job = SinkJob::start(sink, self.record.clone());
        let mut job = trial.done(job);
        for fate in script {
            trial.past.push(fate.to_string());
            trial.done(job.meet(*fate));
            self.look(&job, &seen, self.lags, &trial);
        }
        trial.past.push("the last checkpoint".to_owned());
        trial.done(job.complete(true));
        trial.done(job.commit());
        self.look(&job, &seen, false, &trial);
        trial.past.push("zombies".to_owned());
        job.haunt();
        trial.done(job.commit());
        self.look(&job, &seen, false, &trial);
    }

    /// Compares what can be seen with what the last completed checkpoint covers.
    fn look<S, V>(&self, job: &SinkJob<S>, seen: &V, lags: bool, trial: &Trial)
    where
        S: Sink,
        V: Fn() -> Vec<S::In>,
        R: Fn(u64) -> S::In,
    {
        let encoded = |record: &S::In| trial.done(codec::encode(record).map_err(Into::into));
        let mut found: Vec<Vec<u8>> = seen().iter().map(encoded).collect();
        let covered = job.covered() as usize;
        let len = found.len();
        let numbers = 0..covered.max(len) as u64;
        let mut expected: Vec<Vec<u8>> = numbers.map(|n| encoded(&(self.record)(n))).collect();
        if len > covered {
            trial.broken(
                "nothing is seen before a checkpoint that covers it has completed, and nothing twice",
                &format!("{len} records are seen and {covered} covered"),
            );
        }
        if len < covered && !lags {
            trial.broken(
                "what a completed checkpoint covers is seen once its commits are done",
                &format!("{len} records are seen and {covered} covered"),
            );
        }
        expected.truncate(len);
        if !self.ordered {
            found.sort_unstable();
            expected.sort_unstable();
        }
        if found != expected {
            let same = found.iter().zip(&expected).take_while(|(f, e)| f == e);
            trial.broken(
                "each record is seen once and none is missing, in the order in which they were written",
                &format!("of {len} records that are seen, number {} is another", same.count()),
            );
        }
    }
}

/// What has happened, to be told if a clause is broken.
struct Trial {
    name: &'static str,
    past: Vec<String>,
}

impl Trial {
    fn done<T>(&self, result: Result<T, UserError>) -> T {
        match result {
            Ok(value) => value,
            Err(error) => self.broken(
                "a sink can be written in a healthy world",
                &Failure::user(&error).to_string(),
            ),
        }
    }

    fn broken(&self, clause: &str, detail: &str) -> ! {
        let past = self.past.join(", ");
        panic!("{}: {clause}; {detail}, after: {past}", self.name);
    }
}
