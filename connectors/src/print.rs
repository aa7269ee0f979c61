//! A sink for eyes.

use std::fmt::{self, Debug, Display, Write as _};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use rivus_core::{
    CheckpointId, Committer, Event, Failure, ParallelInstance, Record, Sink, SinkWriter, UserError,
};
use thiserror::Error;

type Show<T> = Arc<dyn Fn(&T, &mut String) -> fmt::Result + Send + Sync>;

/// Prints records as lines, on standard output unless told otherwise.
///
/// **At least once**: a line is out when it is printed, so what is replayed after a recovery is printed
/// again. A line is never torn by another subtask's.
///
/// When nobody reads what it prints any more, as behind `| head`, the job fails in one line, and isn't tried again: its failure says that
/// its [output is closed](Failure::closed_output).
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use rivus_connectors::PrintSink;
///
/// let on_screen = PrintSink::<u64>::display().prefix("count: ");
/// let into = Arc::new(Mutex::new(Vec::new()));
/// let in_a_test = PrintSink::<(String, u64)>::debug().to(Arc::clone(&into));
/// ```
pub struct PrintSink<T> {
    show: Show<T>,
    prefix: Arc<str>,
    target: Target,
}

/// Prints one subtask's records.
pub struct PrintWriter<T> {
    sink: PrintSink<T>,
    /// Reused from run to run.
    text: String,
}

#[derive(Clone)]
enum Target {
    Stdout,
    Shared(Arc<Mutex<dyn Write + Send>>),
}

/// Why nothing could be printed.
#[derive(Debug, Error)]
enum PrintError {
    #[error("cannot print to standard output: is whoever reads it still there?")]
    Stdout(#[source] io::Error),
    #[error("cannot print to the shared writer: is whoever reads it still there?")]
    Shared(#[source] io::Error),
    #[error("a record's Display or Debug failed: mend its fmt()")]
    Format(#[source] fmt::Error),
}

impl PrintError {
    /// As the engine takes it: a reader that has gone doesn't come back.
    fn into_user_error(self) -> UserError {
        match self {
            Self::Stdout(ref source) | Self::Shared(ref source)
                if source.kind() != io::ErrorKind::BrokenPipe =>
            {
                self.into()
            }
            Self::Stdout(_) | Self::Shared(_) => Failure::permanent(self).closed_output().into(),
            Self::Format(_) => Failure::permanent(self).into(),
        }
    }
}

impl<T: Display> PrintSink<T> {
    /// Prints records as [`Display`] shows them.
    pub fn display() -> Self {
        Self::showing(|value, text| write!(text, "{value}"))
    }
}

impl<T: Debug> PrintSink<T> {
    /// Prints records as [`Debug`] shows them.
    pub fn debug() -> Self {
        Self::showing(|value, text| write!(text, "{value:?}"))
    }
}

impl<T> PrintSink<T> {
    fn showing(show: impl Fn(&T, &mut String) -> fmt::Result + Send + Sync + 'static) -> Self {
        Self {
            show: Arc::new(show),
            prefix: Arc::from(""),
            target: Target::Stdout,
        }
    }

    /// Puts this before each line, as it stands.
    pub fn prefix(mut self, prefix: impl AsRef<str>) -> Self {
        self.prefix = Arc::from(prefix.as_ref());
        self
    }

    /// Prints there instead of on standard output.
    pub fn to<W: Write + Send + 'static>(mut self, target: Arc<Mutex<W>>) -> Self {
        self.target = Target::Shared(target);
        self
    }
}

impl<T> Clone for PrintSink<T> {
    fn clone(&self) -> Self {
        Self {
            show: Arc::clone(&self.show),
            prefix: Arc::clone(&self.prefix),
            target: self.target.clone(),
        }
    }
}

impl<T> Debug for PrintSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrintSink")
            .field("prefix", &self.prefix)
            .field("target", &self.target.name())
            .finish_non_exhaustive()
    }
}

impl<T: Record> Sink for PrintSink<T> {
    type In = T;
    type State = ();
    type Committable = ();
    type Writer = PrintWriter<T>;

    fn writer(
        &self,
        _instance: ParallelInstance,
        _state: Option<()>,
    ) -> Result<PrintWriter<T>, UserError> {
        Ok(PrintWriter {
            sink: self.clone(),
            text: String::new(),
        })
    }

    fn committer(&self) -> Option<Arc<dyn Committer<()>>> {
        None
    }
}

impl<T: Record> SinkWriter for PrintWriter<T> {
    type In = T;
    type State = ();
    type Committable = ();

    fn write(&mut self, run: Vec<Event<T>>) -> Result<(), UserError> {
        self.text.clear();
        for event in &run {
            self.text.push_str(&self.sink.prefix);
            (self.sink.show)(&event.value, &mut self.text)
                .map_err(|error| PrintError::Format(error).into_user_error())?;
            self.text.push('\n');
        }
        let text = self.text.as_bytes();
        self.sink.target.with(|target| target.write_all(text))
    }

    fn flush(&mut self) -> Result<(), UserError> {
        self.sink.target.with(|target| target.flush())
    }

    fn prepare_commit(
        &mut self,
        _checkpoint: CheckpointId,
        _last: bool,
    ) -> Result<Vec<()>, UserError> {
        self.flush()?;
        Ok(Vec::new())
    }

    fn snapshot(&mut self) -> Result<(), UserError> {
        Ok(())
    }
}

impl Target {
    fn name(&self) -> &'static str {
        match self {
            Self::Stdout => "standard output",
            Self::Shared(_) => "the shared writer",
        }
    }

    fn with(&self, act: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), UserError> {
        let done = match self {
            Self::Stdout => act(&mut io::stdout().lock()).map_err(PrintError::Stdout),
            Self::Shared(shared) => {
                let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                act(&mut *shared).map_err(PrintError::Shared)
            }
        };
        done.map_err(PrintError::into_user_error)
    }
}
