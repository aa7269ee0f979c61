//! A whole job, by pictures.

use std::time::Duration;

use rivus_core::{Control, Either, MemoryStores, Record};
use rivus_operators::testing::{Show, Step, steps};

use super::expected::difference;
use super::job::{JobTest, MOMENT, RunningJob, TimedFeed};
use super::words::{Words, reads_and_shows};
use crate::connectors::Collected;
use crate::environment::EnvironmentBuilder;
use crate::error::JobError;
use crate::stream::DataStream;

/// So long the clock goes on by itself before a checkpoint that nobody asked for.
const CHECKPOINTS: Duration = Duration::from_secs(10);

/// By which subtasks are killed.
const INPUT: &str = "rivus.input";

/// A picture's word for the death of the leader.
const TAKEOVER: &str = "takeover";

type WriteJob<'a, In, Out> = Box<dyn Fn(&DataStream<In>) -> DataStream<Out> + 'a>;

/// A whole job that is driven by pictures, as [`OperatorTest`](super::OperatorTest) drives operators: with actors, exchanges, checkpoints and commits,
/// all on the test's own thread. What comes out is what whoever reads only committed records sees: it appears at a checkpoint, or at the
/// end. Every picture is tried in memory and over a store with room for hardly a row.
///
/// ```
/// use rivus::testing::JobPictures;
/// use rivus::{DataStream, WindowAssigner};
/// use std::time::Duration;
///
/// fn counts(words: &DataStream<String>) -> DataStream<(String, u64)> {
///     let tens = WindowAssigner::tumbling(Duration::from_millis(10));
///     let counts = words.key_by_ref(|word| word.as_str()).window(tens).count();
///     counts.map(|window| (window.key, window.value))
/// }
///
/// #[tokio::main(flavor = "current_thread", start_paused = true)] // in a test: #[tokio::test(start_paused = true)]
/// async fn main() {
///     JobPictures::of(counts)
///         .reads(str::to_owned)
///         .shows(|(word, count)| format!("{word}={count}"))
///         .settings(|settings| settings.parallelism(2).slots(3))
///         // Subtasks die, then the leader; three subtasks go on.
///         .check("a@1 b@2 | a@3 !9 x | a@12 takeover a@13 x3 !19 end", "| { a=2@9 b=1@9 } | a=2@19 end")
///         .await;
/// }
/// ```
///
/// | word | what happens |
/// |---|---|
/// | `a@1 b@2`, `/`, `!6`, `!max` | as to an operator, but that no watermark comes out |
/// | `\|` | the clock goes on to the next checkpoint; there is one every ten seconds, with or without it, unless the settings have another interval |
/// | `x` | the subtasks are killed, and the job goes on from its last checkpoint, after the wait of its restart strategy |
/// | `x3` | the same, then three subtasks go on, if there are slots, from a savepoint: it is the last checkpoint now |
/// | `takeover` | the leader dies, and the next one takes the job over while its tasks run on |
/// | `+50` | 50 ms pass between the word before and the one behind, without it 20 |
/// | `end` | the input ends, and the job |
///
/// After `x` all comes again at once, watermarks and the records behind them: what was late the first time may be in time then, as in any job.
///
/// Records that come out before one `|` or `end` are ordered by subtask: at a parallelism above 1 they stand between `{` and `}`.
pub struct JobPictures<'a, In, Out> {
    write: WriteJob<'a, In, Out>,
    words: Words<'a, In, Out>,
    settings: Box<dyn Fn(EnvironmentBuilder) -> EnvironmentBuilder + 'a>,
}

impl<'a, A: Record, B: Record, Out: Record> JobPictures<'a, Either<A, B>, Out> {
    /// Of a job with two inputs, whose event time is the same. [`reads`](Self::reads) says of which a record is.
    pub fn of_two(write: impl Fn(&DataStream<A>, &DataStream<B>) -> DataStream<Out> + 'a) -> Self {
        Self::of(move |both| {
            let first = both.flat_map(|record| match record {
                Either::First(record) => Some(record),
                Either::Second(_) => None,
            });
            let second = both.flat_map(|record| match record {
                Either::First(_) => None,
                Either::Second(record) => Some(record),
            });
            write(&first, &second)
        })
    }
}

impl<'a, In: Record, Out: Record> JobPictures<'a, In, Out> {
    /// Of what a program makes of a stream. Its event time is what the picture says.
    pub fn of(write: impl Fn(&DataStream<In>) -> DataStream<Out> + 'a) -> Self {
        Self {
            write: Box::new(write),
            words: Words::new(),
            settings: Box::new(|settings| settings),
        }
    }

    reads_and_shows!(words);

    /// With other settings than [`JobTest::new`] has: a parallelism, a state backend for all runs.
    #[must_use]
    pub fn settings(
        mut self,
        settings: impl Fn(EnvironmentBuilder) -> EnvironmentBuilder + 'a,
    ) -> Self {
        self.settings = Box::new(settings);
        self
    }

    /// What a picture gives with a seed; over a store with an odd one.
    ///
    /// # Errors
    /// If the program can't run, or the job fails.
    ///
    /// # Panics
    /// If a word means nothing to a job, or nobody [`reads`](Self::reads) records.
    pub async fn play(&self, picture: &str, seed: u64) -> Result<String, JobError> {
        let parts = parts(picture, self.words.reader());
        let test = JobTest::with(seed, |settings| {
            let settings = settings.checkpoint_interval(CHECKPOINTS);
            (self.settings)(match seed % 2 {
                1 => settings.state_backend(MemoryStores { cache_bytes: 1 }),
                _ => settings,
            })
        });
        let (input, feed) = test.timed(Some(INPUT));
        let out = (self.write)(&input).collect();
        let mut played = Played {
            job: Some(test.start().await?),
            feed,
            out,
            show: &self.words.show,
            shown: 0,
            settled: Duration::ZERO,
            words: Vec::new(),
        };
        let all = played.play(parts).await;
        let Some(RunningJob { handle }) = played.job else {
            return all.map(|()| played.words.join(" "));
        };
        handle.cancel();
        let ended = handle.wait().await;
        all?;
        match ended {
            Ok(_) | Err(JobError::Canceled) => Ok(played.words.join(" ")),
            Err(failed) => Err(failed),
        }
    }

    /// Checks what a picture gives, in memory and over a store. Records between `{` and `}` are expected in any order.
    ///
    /// # Panics
    /// If something else comes out, or the job fails.
    pub async fn check(&self, picture: &str, expected: &str) -> &Self {
        for seed in 0..4 {
            match self.play(picture, seed).await {
                Ok(came) => {
                    if let Some(told) = difference(&came, expected) {
                        panic!(
                            "not what is expected of the picture {picture}\n{}:\n{told}",
                            with(seed)
                        );
                    }
                }
                Err(error) => panic!("the picture {picture} failed\n{}:\n{error}", with(seed)),
            }
        }
        self
    }
}

/// What is tried with a seed.
fn with(seed: u64) -> String {
    let rows = if seed % 2 == 1 {
        "over a store"
    } else {
        "in memory"
    };
    format!("with seed {seed} (rows {rows}, if the settings name no backend)")
}

/// What happens, between deaths of the leader.
fn parts<T>(picture: &str, read: impl Fn(&str) -> T) -> Vec<Vec<Step<T>>> {
    let words: Vec<&str> = picture.split_whitespace().collect();
    for word in &words {
        let is_known = match word.split_at_checked(1) {
            _ if word.contains('@') => true,
            Some(("!" | "+", _)) => true,
            Some(("x", rest)) => rest.chars().all(|digit| digit.is_ascii_digit()),
            _ => ["/", "|", "end", TAKEOVER].contains(word),
        };
        assert!(
            is_known,
            "the picture's word {word} means nothing to a job: a record has its time behind it, as a@1, and there are /, !6, !max, |, \
             x, x3, {TAKEOVER}, +50, end"
        );
    }
    let parts = words.split(|word| *word == TAKEOVER);
    parts.map(|words| steps(&words.join(" "), &read)).collect()
}

/// A job that is being played to.
struct Played<'a, In, Out> {
    /// None once it has ended.
    job: Option<RunningJob>,
    feed: TimedFeed<In>,
    out: Collected<Out>,
    show: &'a Show<Out>,
    /// How many of the records that are committed have been shown.
    shown: usize,
    /// Time that has passed since the last word.
    settled: Duration,
    words: Vec<String>,
}

impl<In: Record, Out: Record> Played<'_, In, Out> {
    fn job(&mut self) -> Result<&mut RunningJob, JobError> {
        self.job.as_mut().ok_or(JobError::Ended)
    }

    async fn play(&mut self, parts: Vec<Vec<Step<In>>>) -> Result<(), JobError> {
        for (part, steps) in parts.into_iter().enumerate() {
            if part > 0 {
                self.job()?.kill_leader().await?;
                self.settle().await;
            }
            for step in steps {
                self.step(step).await?;
            }
        }
        Ok(())
    }

    async fn step(&mut self, step: Step<In>) -> Result<(), JobError> {
        match step {
            Step::Run(run) => {
                for event in run {
                    if self.feed.send(event.ts, event.value).await.is_err() {
                        return self.over().await;
                    }
                }
            }
            Step::Control(Control::Watermark(watermark)) => {
                if self.feed.watermark(watermark).await.is_err() {
                    return self.over().await;
                }
            }
            Step::Control(Control::EndOfInput) => {
                self.feed.finish();
                return self.over().await;
            }
            Step::Control(control) => panic!("{control:?} means nothing to a whole job"),
            Step::Pass(time) => {
                let rest = time.saturating_sub(self.settled);
                self.job()?.advance(rest).await;
            }
            Step::Barrier => {
                self.job()?.checkpoint().await?;
                self.show();
                self.words.push("|".to_owned());
            }
            Step::Crash => match self.job()?.kill(INPUT).await {
                // Why, its end says.
                Err(JobError::Ended) => return self.over().await,
                killed => killed?,
            },
            Step::Rescale(parallelism) => match self.rescaled(parallelism).await {
                Err(JobError::Ended) => return self.over().await,
                rescaled => rescaled?,
            },
        }
        self.settle().await;
        Ok(())
    }

    async fn rescaled(&mut self, parallelism: u32) -> Result<(), JobError> {
        let job = self.job()?;
        job.kill(INPUT).await?;
        job.handle().rescale(parallelism).await?;
        job.runs().await
    }

    async fn settle(&mut self) {
        if let Some(job) = &self.job {
            job.settle().await;
            self.settled = MOMENT;
        }
    }

    /// The job is at its end, or has failed.
    async fn over(&mut self) -> Result<(), JobError> {
        self.job.take().ok_or(JobError::Ended)?.finish().await?;
        self.show();
        self.words.push("end".to_owned());
        Ok(())
    }

    /// What has been committed since.
    fn show(&mut self) {
        let events = self.out.events();
        let new = events.iter().skip(self.shown);
        let words = new.map(|event| format!("{}@{}", (self.show)(&event.value), event.ts));
        self.words.extend(words);
        self.shown = events.len();
    }
}
