//! What can go wrong in a job, and how much of it that ends.

use std::fmt;

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
    /// One line: what happened, and the mend where there is one.
    pub message: String,
}

/// What a user's function returns to fail its attempt.
pub type UserError = Box<dyn std::error::Error + Send + Sync>;

impl Failure {
    /// A failure that ends this execution.
    pub fn attempt(message: impl Into<String>) -> Self {
        Self {
            scope: FailureScope::Attempt,
            operator: None,
            position: None,
            message: message.into(),
        }
    }

    /// A failure that no restart can mend.
    pub fn job(message: impl Into<String>) -> Self {
        Self {
            scope: FailureScope::Job,
            ..Self::attempt(message)
        }
    }

    /// Names the operator to blame, unless one is named already.
    pub fn blame(mut self, operator: &OperatorUid) -> Self {
        self.operator.get_or_insert_with(|| operator.clone());
        self
    }

    /// Says where the source stood, unless that is known already.
    pub fn at(mut self, position: Option<String>) -> Self {
        self.position = self.position.or(position);
        self
    }

    /// The failure of a user's function, with the chain of its causes on one line.
    pub fn user(error: &UserError) -> Self {
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
        match &self.position {
            Some(position) => write!(f, " (source at {position})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<CodecError> for Failure {
    fn from(error: CodecError) -> Self {
        Self::user(&(Box::new(error) as UserError))
    }
}
