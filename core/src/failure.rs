//! What can go wrong in a job, and how much of it that ends.

use std::any::Any;
use std::fmt::{self, Debug};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use crate::codec::CodecError;
use crate::ids::OperatorUid;

/// How much a failure ends. Stated by whoever fails, never guessed by a supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureScope {
    /// This execution of the subtask; its region restarts if the restart strategy allows it.
    Attempt,
    /// The whole job: trying again can't help.
    Job,
    /// The whole process: its state can't be trusted any more.
    Process,
}

/// Why an attempt, a job or a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What it ends.
    pub scope: FailureScope,
    /// The operator whose code failed, where one is to blame.
    pub operator: Option<OperatorUid>,
    /// Where the source stood, as far as the subtask knows it (`access.log:1207`).
    pub position: Option<String>,
    /// The record that was being worked on. Known in debug builds only: it takes a copy of each record.
    pub record: Option<String>,
    /// One line: what happened, and the mend where there is one.
    pub message: String,
    /// Whether it came from outside the job's code: what a source reads, a sink writes to or a request asks. That may be back
    /// soon, so however often it fails in the same way, it is no poison.
    pub outside: bool,
    /// Whether nobody reads what the job prints any more.
    pub closed_output: bool,
}

/// Characters of a record that a failure shows.
const RECORD_SHOWN: usize = 200;

/// What a user's function, source or sink returns to fail its attempt, or, made with [`Failure::permanent`],
/// its job.
pub type UserError = Box<dyn std::error::Error + Send + Sync>;

impl Failure {
    /// A failure that ends this execution.
    pub fn attempt(message: impl Into<String>) -> Self {
        Self {
            scope: FailureScope::Attempt,
            operator: None,
            position: None,
            record: None,
            message: message.into(),
            outside: false,
            closed_output: false,
        }
    }

    /// A failure that no restart can mend.
    pub fn job(message: impl Into<String>) -> Self {
        Self {
            scope: FailureScope::Job,
            ..Self::attempt(message)
        }
    }

    /// An error that a second try would meet again, such as a line that is no record or a wrong option. A
    /// function, source or sink that returns it ends the job, not just the attempt.
    ///
    /// ```
    /// use rivus_core::{Failure, FailureScope, UserError};
    ///
    /// fn number(line: &str) -> Result<u32, UserError> {
    ///     Ok(line.parse().map_err(Failure::permanent)?)
    /// }
    /// let failure = Failure::user(&number("one").unwrap_err());
    /// assert_eq!(failure.scope, FailureScope::Job);
    /// ```
    pub fn permanent(error: impl Into<UserError>) -> Self {
        Self {
            scope: FailureScope::Job,
            ..Self::user(&error.into())
        }
    }

    /// Says that it came from [outside](Self::outside) the job's code.
    #[must_use]
    pub fn outside(self) -> Self {
        Self {
            outside: true,
            ..self
        }
    }

    /// Says that [nobody reads](Self::closed_output) what the job prints any more.
    #[must_use]
    pub fn closed_output(self) -> Self {
        Self {
            closed_output: true,
            ..self
        }
    }

    /// Names the operator to blame, unless one is named already.
    pub fn blame(mut self, operator: &OperatorUid) -> Self {
        self.operator.get_or_insert_with(|| operator.clone());
        self
    }

    /// Shows the record that was being worked on, unless that is known already.
    pub fn with_record(mut self, record: &dyn Debug) -> Self {
        self.record.get_or_insert_with(|| {
            let shown = format!("{record:?}");
            match shown.char_indices().nth(RECORD_SHOWN) {
                Some((end, _)) => format!("{}...", &shown[..end]),
                None => shown,
            }
        });
        self
    }

    /// Says where the source stood, unless that is known already.
    pub fn at(mut self, position: Option<String>) -> Self {
        self.position = self.position.or(position);
        self
    }

    fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self::attempt(format!("panicked: {}", text.unwrap_or("without a message")))
    }

    /// Does work that may be a user's: a panic of it is a failure like any other.
    ///
    /// # Errors
    /// Whatever the work returns, and its panic.
    ///
    /// ```
    /// use rivus_core::Failure;
    ///
    /// let failure = Failure::caught(|| -> Result<(), Failure> { panic!("boom") }).unwrap_err();
    /// assert_eq!(failure.message, "panicked: boom");
    /// ```
    pub fn caught<T>(work: impl FnOnce() -> Result<T, Self>) -> Result<T, Self> {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Self::panicked(&*panic)))
    }

    /// Whether the same operator failed with the same words, or with the source at the same place: words may
    /// hold what changes, and the runs of a source may end elsewhere when they are read again. What is not of the
    /// job's code repeats nothing.
    pub fn is_repeated_by(&self, later: &Self) -> bool {
        let same_place = self.position.is_some() && self.position == later.position;
        later.is_of_code()
            && self.operator == later.operator
            && (same_place || self.message == later.message)
    }

    /// Whether the job's own code failed.
    pub fn is_of_code(&self) -> bool {
        self.operator.is_some() && !self.outside
    }

    /// The failure of a user's function, with the chain of its causes on one line. One that is a `Failure`
    /// says itself what it ends.
    pub fn user(error: &UserError) -> Self {
        if let Some(failure) = error.downcast_ref::<Self>() {
            return failure.clone();
        }
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Self::attempt(message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(operator) = &self.operator {
            write!(f, "operator {operator}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(record) = &self.record {
            write!(f, " (record {record})")?;
        }
        match &self.position {
            Some(position) => write!(f, " (source read up to {position})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<CodecError> for Failure {
    fn from(error: CodecError) -> Self {
        match error {
            // The next attempt would come to the same value.
            CodecError::Encode { .. } => Self::permanent(error),
            error => Self::user(&(Box::new(error) as UserError)),
        }
    }
}
