//! Questions about the state of a running job.

use rivus_actors::{JobStatus, SubtaskMessage};
use rivus_core::{
    Asked, CodecError, Failure, JobGraph, JobVertex, KeyGroup, KeyTimers, OperatorUid, StateAnswer,
    StateQuery, SubtaskId, codec,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::error::JobError;
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

    fn unreadable(error: CodecError) -> Self {
        Self::Unreadable(Failure::from(error))
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
    /// | `.distinct()` | `()`, of a key that has come |
    /// | `.window(..).aggregate(f)` and what is made with it, `.count_window(..)` too | `Vec<(Window, A)>`, where `A` is the accumulator: the key's open windows, earliest first |
    /// | `.window(..).reduce(f)`; `.process(f)` | the same with [`ValueState`](crate::ValueState) of the record; with a `Vec` of the records |
    /// | a window with an evictor | the same with a `Vec` of [`Event`](crate::Event)s |
    /// | `.join(..)`, `.co_group(..)` of two streams by window | the same with [`Grouped`](crate::Grouped) records |
    /// | `.interval_join(..)` | two `Vec`s of [`Event`](crate::Event)s: the records of each stream that may still meet others |
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
        let query = StateQuery::new::<K, S>(OperatorUid(uid.to_owned()), key);
        self.answer(query.map_err(QueryError::unreadable)?).await
    }

    /// One state of a key by its name: a field of the operator's `State`.
    ///
    /// # Errors
    /// As [`query`](Self::query); and if the operator has no state of that name.
    ///
    /// ```
    /// use rivus::{
    ///     ActorSource, Event, Keyed, KeyedProcessFunction, ListState, Output, StateSet, StreamEnvironment, UserError,
    ///     ValueState, connectors::DiscardSink,
    /// };
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
    /// struct Visits { times: ValueState<u32>, pages: ListState<String> }
    ///
    /// #[derive(Clone)]
    /// struct Remember;
    ///
    /// impl KeyedProcessFunction<u64, (u64, String)> for Remember {
    ///     type Out = ();
    ///     type State = Visits;
    ///     fn process(
    ///         &mut self, visit: Event<(u64, String)>, visits: &mut Keyed<'_, u64, Visits>, _: &mut Output<'_, ()>,
    ///     ) -> Result<(), UserError> {
    ///         *visits.times.get_or_default() += 1;
    ///         visits.pages.push(visit.value.1);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let env = StreamEnvironment::default();
    /// let (source, visits) = ActorSource::bounded(100);
    /// let stream = env.from_source(source).key_by(|visit: &(u64, String)| visit.0);
    /// stream.process(Remember).uid("visits").sink_to(DiscardSink::new());
    /// let job = env.start("visits").await?;
    /// visits.send((7, "/".to_owned())).await?;
    /// let pages = loop {
    ///     match job.query_state::<_, ListState<String>>("visits", "pages", &7_u64).await {
    ///         Ok(Some(pages)) => break pages,
    ///         Err(error) if !error.is_retryable() => return Err(error.into()),
    ///         _ => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
    ///     }
    /// };
    /// assert_eq!(pages.iter().collect::<Vec<_>>(), ["/"]);
    /// let wrong = job.query_state::<_, u32>("visits", "page", &7_u64).await.unwrap_err();
    /// assert_eq!(wrong.to_string(), "operator visits: it has no state \"page\": ask for one of times, pages");
    /// # job.cancel();
    /// # Ok(()) }
    /// ```
    pub async fn query_state<K, S>(
        &self,
        uid: &str,
        state: &str,
        key: &K,
    ) -> Result<Option<S>, QueryError>
    where
        K: Serialize + ?Sized,
        S: DeserializeOwned,
    {
        let query = StateQuery::new::<K, S>(OperatorUid(uid.to_owned()), key);
        let query = query.map_err(QueryError::unreadable)?;
        self.answer(query.asking(Asked::Field(state.to_owned())))
            .await
    }

    /// The timers of a key of a keyed process function.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    ///
    /// ```
    /// use rivus::testing::JobTest;
    /// use rivus::{
    ///     Event, KeyTimers, Keyed, KeyedProcessFunction, Output, UserError, WatermarkStrategy, connectors::DiscardSink,
    /// };
    ///
    /// /// Has something to say to a customer a minute after each order.
    /// #[derive(Clone)]
    /// struct Remind;
    ///
    /// impl KeyedProcessFunction<u64, u64> for Remind {
    ///     type Out = ();
    ///     type State = ();
    ///     fn process(
    ///         &mut self, order: Event<u64>, customer: &mut Keyed<'_, u64, ()>, _: &mut Output<'_, ()>,
    ///     ) -> Result<(), UserError> {
    ///         customer.register_event_timer(order.ts + 60_000);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let test = JobTest::new(7);
    /// let (orders, feed) = test.input::<u64>();
    /// let timed = orders.assign_watermarks(WatermarkStrategy::monotonous());
    /// timed.key_by(|customer| *customer).process(Remind).uid("reminders").sink_to(DiscardSink::new());
    /// let mut job = test.start().await?;
    /// feed.send_at(1_000, 7).await?;
    /// feed.send_at(2_000, 7).await?;
    /// job.checkpoint().await?;
    /// let timers = job.handle().query_timers("reminders", &7_u64).await?;
    /// assert_eq!(timers.event, [61_000, 62_000]);
    /// assert_eq!(job.handle().query_timers("reminders", &8_u64).await?, KeyTimers::default());
    /// # Ok(()) }
    /// ```
    pub async fn query_timers<K>(&self, uid: &str, key: &K) -> Result<KeyTimers, QueryError>
    where
        K: Serialize + ?Sized,
    {
        let query = StateQuery::new::<K, ()>(OperatorUid(uid.to_owned()), key);
        let query = query.map_err(QueryError::unreadable)?;
        let timers = self.answer(query.asking(Asked::Timers)).await?;
        Ok(timers.unwrap_or_default())
    }

    /// The broadcast state of an operator, as its first subtask has it.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    ///
    /// ```
    /// use rivus::testing::JobTest;
    /// use rivus::{BroadcastProcessFunction, Event, MapState, Output, UserError, connectors::DiscardSink};
    ///
    /// /// Passes on words that aren't forbidden.
    /// #[derive(Clone)]
    /// struct Polite;
    ///
    /// impl BroadcastProcessFunction<String, String> for Polite {
    ///     type Out = String;
    ///     type Broadcast = MapState<String, ()>;
    ///     fn process(
    ///         &mut self, word: Event<String>, forbidden: &Self::Broadcast, out: &mut Output<'_, String>,
    ///     ) -> Result<(), UserError> {
    ///         if !forbidden.contains_key(&word.value) {
    ///             out.emit(word.value);
    ///         }
    ///         Ok(())
    ///     }
    ///     fn process_broadcast(
    ///         &mut self, word: Event<String>, forbidden: &mut Self::Broadcast, _: &mut Output<'_, String>,
    ///     ) -> Result<(), UserError> {
    ///         forbidden.insert(word.value, ());
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let test = JobTest::new(7);
    /// let (words, _said) = test.input::<String>();
    /// let (rules, rule) = test.input::<String>();
    /// let polite = words.connect_broadcast(&rules.broadcast()).process(Polite);
    /// polite.uid("polite").sink_to(DiscardSink::new());
    /// let mut job = test.start().await?;
    /// rule.send("darn".to_owned()).await?;
    /// job.checkpoint().await?;
    /// let forbidden: MapState<String, ()> = job.handle().query_broadcast("polite").await?;
    /// assert!(forbidden.contains_key("darn"));
    /// # Ok(()) }
    /// ```
    pub async fn query_broadcast<S: DeserializeOwned>(&self, uid: &str) -> Result<S, QueryError> {
        let query = StateQuery::of_broadcast::<S>(OperatorUid(uid.to_owned()));
        let query = query.map_err(QueryError::unreadable)?;
        let state = self.answer(query).await?;
        state.ok_or_else(|| QueryError::refused(uid, "it has no broadcast state"))
    }

    /// What a [`process_with_state`](crate::DataStream::process_with_state) keeps: the items of all of its subtasks, in their order. Each
    /// answers by itself, so what was under way between two of them may be in both or in neither.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    ///
    /// ```
    /// use rivus::{ActorSource, Event, Output, StatefulProcessFunction, StreamEnvironment, UserError, connectors::DiscardSink};
    ///
    /// /// Counts all records of its subtask.
    /// #[derive(Clone, Default)]
    /// struct Counting(u64);
    ///
    /// impl StatefulProcessFunction<String> for Counting {
    ///     type Out = u64;
    ///     type Item = u64;
    ///     fn process(&mut self, _: Event<String>, out: &mut Output<'_, u64>) -> Result<(), UserError> {
    ///         self.0 += 1;
    ///         out.emit(self.0);
    ///         Ok(())
    ///     }
    ///     fn snapshot(&self) -> Vec<u64> {
    ///         vec![self.0]
    ///     }
    ///     fn restore(&mut self, items: Vec<u64>) -> Result<(), UserError> {
    ///         self.0 = items.iter().sum();
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = StreamEnvironment::default();
    /// let (source, words) = ActorSource::<String>::bounded(100);
    /// let counted = env.from_source(source).rebalance().process_with_state(Counting::default());
    /// counted.uid("counted").parallelism(2).sink_to(DiscardSink::new());
    /// let job = env.start("words").await?;
    /// for word in ["to", "be", "to"] {
    ///     words.send(word.to_owned()).await?;
    /// }
    /// loop {
    ///     match job.query_items::<u64>("counted").await {
    ///         Ok(items) if items.len() == 2 && items.iter().sum::<u64>() == 3 => break,
    ///         Err(error) if !error.is_retryable() => return Err(error.into()),
    ///         _ => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
    ///     }
    /// }
    /// let wrong = job.query_items::<String>("counted").await.unwrap_err();
    /// assert_eq!(wrong.to_string(), "operator counted: the state is u64, not String: ask for that");
    /// # job.cancel();
    /// # Ok(()) }
    /// ```
    pub async fn query_items<T: DeserializeOwned>(&self, uid: &str) -> Result<Vec<T>, QueryError> {
        let query = StateQuery::of_items::<T>(OperatorUid(uid.to_owned()));
        let query = query.map_err(QueryError::unreadable)?;
        let graph = self.cluster.graph(self.job).ok_or(QueryError::Ended)?;
        let vertex = vertex_of(&graph, uid)?;
        let mut items = Vec::new();
        for index in 0..vertex.parallelism {
            let vertex = vertex.id;
            let part = self.answer_of(SubtaskId { vertex, index }, query.clone());
            items.extend(part.await?.into_iter().flat_map(|part: Vec<T>| part));
        }
        Ok(items)
    }

    /// What whoever owns the key answers.
    async fn answer<S: DeserializeOwned>(
        &self,
        query: StateQuery,
    ) -> Result<Option<S>, QueryError> {
        let graph = self.cluster.graph(self.job).ok_or(QueryError::Ended)?;
        let owner = owner(&graph, &query)?;
        self.answer_of(owner, query).await
    }

    async fn answer_of<S: DeserializeOwned>(
        &self,
        subtask: SubtaskId,
        query: StateQuery,
    ) -> Result<Option<S>, QueryError> {
        let uid = query.operator.0.clone();
        match self.ask(subtask, &uid, query).await? {
            Ok(Some(StateAnswer::Found(bytes))) => codec::decode(&bytes)
                .map(Some)
                .map_err(QueryError::unreadable),
            Ok(Some(StateAnswer::Missing)) => Ok(None),
            Ok(Some(StateAnswer::Refused(reason))) => Err(QueryError::refused(&uid, reason)),
            Ok(None) => Err(QueryError::refused(
                &uid,
                "it has no state that can be asked for: ask an operator that keeps state by key, broadcast state or items",
            )),
            Err(failure) => Err(QueryError::Unreadable(failure)),
        }
    }

    /// Kills the subtasks of an operator that can be seen. Returns how many.
    pub(crate) fn kill_subtasks(&self, uid: &str) -> Result<usize, JobError> {
        let graph = self.cluster.graph(self.job).ok_or(JobError::Ended)?;
        let vertex =
            vertex_of(&graph, uid).map_err(|error| JobError::Program(error.to_string()))?;
        let mut killed = 0;
        for task in self.view().subtasks {
            if task.attempt.subtask.vertex == vertex.id
                && let Some(actor) = self.cluster.subtask(self.job, task.attempt)
            {
                actor.kill();
                killed += 1;
            }
        }
        Ok(killed)
    }

    /// Asks a subtask.
    async fn ask(
        &self,
        subtask: SubtaskId,
        uid: &str,
        query: StateQuery,
    ) -> Result<Result<Option<StateAnswer>, Failure>, QueryError> {
        let restarting = || QueryError::Restarting(uid.to_owned());
        if let JobStatus::Ended(_) = self.status() {
            return Err(QueryError::Ended);
        }
        let attempts = self.view().subtasks.into_iter().map(|task| task.attempt);
        let attempt = attempts
            .filter(|attempt| attempt.subtask == subtask)
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
    let vertex = vertex_of(graph, &query.operator.0)?;
    let max_parallelism = graph.written.max_parallelism;
    let group = KeyGroup::of(query.hash, max_parallelism);
    Ok(SubtaskId {
        vertex: vertex.id,
        index: group.owner(vertex.parallelism, max_parallelism),
    })
}

/// The vertex that an operator is part of.
fn vertex_of<'a>(graph: &'a JobGraph, uid: &str) -> Result<&'a JobVertex, QueryError> {
    let vertex = graph.vertices.iter().find(|vertex| {
        let mut nodes = vertex.nodes.iter();
        nodes.any(|node| graph.node(*node).uid.0 == uid)
    });
    let unknown = "the job has no operator of this uid: give it one with .uid(..)";
    vertex.ok_or_else(|| QueryError::refused(uid, unknown))
}
