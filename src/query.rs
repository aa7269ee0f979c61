//! Questions about the state of a running job.

use rivus_actors::{JobStatus, SubtaskMessage};
use rivus_core::{
    Failure, JobGraph, KeyGroup, OperatorUid, StateAnswer, StateQuery, SubtaskId, codec,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::handle::JobHandle;

/// Why a question about state has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueryError {
    /// The operator isn't running at the moment: ask again.
    #[error("operator {0} is starting or restarting: ask again")]
    Restarting(String),
    /// The question doesn't fit the job: one line that names what doesn't, and the mend.
    #[error("operator {operator}: {reason}")]
    Refused {
        /// Who was asked.
        operator: String,
        /// Why it doesn't answer.
        reason: String,
    },
    /// The state could not be read.
    #[error("the state could not be read: {0}")]
    Unreadable(Failure),
    /// The job is over, and its state with it.
    #[error("the job is over")]
    Ended,
}

impl QueryError {
    /// Whether the same question may be answered a moment later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Restarting(_))
    }

    fn refused(operator: &str, reason: impl Into<String>) -> Self {
        Self::Refused {
            operator: operator.to_owned(),
            reason: reason.into(),
        }
    }
}

impl JobHandle {
    /// The state of a key at this moment, as the operator with this uid has it; none if the key has none. It is what records
    /// so far have made of it: after a failure the job goes on from an earlier one.
    ///
    /// | operator | `S` |
    /// |---|---|
    /// | a keyed process function, also one with broadcast state | its `State` |
    /// | `.aggregate(f)` of a keyed stream, and what is made with it | the accumulator of `f`, such as `u64` for a count |
    /// | `.reduce(f)` | [`ValueState`](crate::ValueState) of the record |
    ///
    /// The question goes to the subtask that owns the key and is answered between two turns of its work. Rows that lie in a
    /// state backend are read there, and what is in memory stays as it is. State that has expired is not shown.
    ///
    /// # Errors
    /// [`QueryError::Restarting`] while the owner isn't running; [`QueryError::Refused`] if there is no such operator, its state
    /// can't be asked for, or the key or the state has another type.
    ///
    /// ```
    /// use rivus::{ActorSource, QueryError, StreamEnvironment, connectors::DiscardSink};
    /// # use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = StreamEnvironment::default();
    /// let (source, words) = ActorSource::<String>::bounded(100);
    /// env.from_source(source).key_by_ref(|word| word.as_str()).count().uid("counts").sink_to(DiscardSink::new());
    /// let job = env.start("words").await?;
    /// for word in ["to", "be", "to"] {
    ///     words.send(word.to_owned()).await?;
    /// }
    /// let twice = loop {
    ///     match job.query::<str, u64>("counts", "to").await {
    ///         Ok(Some(2)) => break 2,
    ///         Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await, // not counted yet
    ///         Err(error) if error.is_retryable() => tokio::time::sleep(Duration::from_millis(5)).await,
    ///         Err(error) => return Err(error.into()),
    ///     }
    /// };
    /// let wrong = job.query::<str, String>("counts", "to").await.unwrap_err();
    /// assert_eq!(wrong.to_string(), "operator counts: the state is u64, not String: ask for that");
    /// # assert_eq!(twice, 2);
    /// # job.cancel();
    /// # Ok(()) }
    /// ```
    pub async fn query<K, S>(&self, uid: &str, key: &K) -> Result<Option<S>, QueryError>
    where
        K: Serialize + ?Sized,
        S: DeserializeOwned,
    {
        let unreadable = |error| QueryError::Unreadable(Failure::from(error));
        let query =
            StateQuery::new::<K, S>(OperatorUid(uid.to_owned()), key).map_err(unreadable)?;
        match self.ask(uid, query).await? {
            Ok(Some(StateAnswer::Found(bytes))) => {
                codec::decode(&bytes).map(Some).map_err(unreadable)
            }
            Ok(Some(StateAnswer::Missing)) => Ok(None),
            Ok(Some(StateAnswer::Refused(reason))) => Err(QueryError::refused(uid, reason)),
            Ok(None) => Err(QueryError::refused(
                uid,
                "it has no state that can be asked for: ask a keyed process function or an aggregate",
            )),
            Err(failure) => Err(QueryError::Unreadable(failure)),
        }
    }

    /// Asks whoever owns the key.
    async fn ask(
        &self,
        uid: &str,
        query: StateQuery,
    ) -> Result<Result<Option<StateAnswer>, Failure>, QueryError> {
        let restarting = || QueryError::Restarting(uid.to_owned());
        if let JobStatus::Ended(_) = self.status() {
            return Err(QueryError::Ended);
        }
        let graph = self.cluster.graph(self.job).ok_or(QueryError::Ended)?;
        let owner = owner(&graph, &query)?;
        let attempts = self.view().subtasks.into_iter().map(|task| task.attempt);
        let attempt = attempts
            .filter(|attempt| attempt.subtask == owner)
            .max()
            .ok_or_else(restarting)?;
        let actor = self.cluster.subtask(self.job, attempt);
        let (reply, answer) = oneshot::channel();
        let query = Box::new(query);
        let _ = actor
            .ok_or_else(restarting)?
            .cast(SubtaskMessage::Inspect { query, reply });
        answer.await.map_err(|_| restarting())
    }
}

/// The subtask that owns the key.
fn owner(graph: &JobGraph, query: &StateQuery) -> Result<SubtaskId, QueryError> {
    let uid = &query.operator;
    let vertex = graph.vertices.iter().find(|vertex| {
        let mut nodes = vertex.nodes.iter();
        nodes.any(|node| graph.node(*node).uid == *uid)
    });
    let vertex = vertex.ok_or_else(|| {
        QueryError::refused(
            &uid.0,
            "the job has no operator of this uid: give it one with .uid(..)",
        )
    })?;
    let max_parallelism = graph.written.max_parallelism;
    let group = KeyGroup::of(query.hash, max_parallelism);
    Ok(SubtaskId {
        vertex: vertex.id,
        index: group.owner(vertex.parallelism, max_parallelism),
    })
}
