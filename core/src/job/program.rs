//! Programs by name: what lets any process of a cluster build a job's plan by itself.

use serde::{Deserialize, Serialize};

/// Names a program and what it is called with. Closures don't travel; every process that has the job's factory builds
/// the same plan from this, and compares fingerprints.
///
/// ```
/// use rivus_core::job::ProgramRef;
///
/// let program = ProgramRef {
///     factory: "word_count".into(),
///     args: vec!["--input".into(), "books/*.txt".into()],
///     parallelism: 4,
/// };
/// assert_eq!(program.to_string(), "word_count --input books/*.txt");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramRef {
    /// The factory's name in the registry that is compiled into the binary.
    pub factory: String,
    /// Its arguments, as on a command line.
    pub args: Vec<String>,
    /// Subtasks of every operator that doesn't say otherwise.
    pub parallelism: u32,
}

impl std::fmt::Display for ProgramRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.factory)?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}
