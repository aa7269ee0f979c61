//! The program as it is being written: nodes, edges, and the mistakes found on the way.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rivus_core::{
    AsItIs, Broadcast, Carry, DEFAULT_MAX_PARALLELISM, Exchange, Forward, Global, JobGraph,
    Migrations, NodeId, Operator, OutputFactory, Partition, PartitionBy, Rebalance, Record,
    RouteFactory, Shuffle, SideTag, StreamEdge, StreamGraph, StreamNode, TypedOutput,
    WatermarkAlignment,
};
use rivus_operators::{SideOutputTag, SideOutputs};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::JobError;

/// A program that several streams write to.
#[derive(Clone)]
pub(crate) struct Program(Arc<Mutex<Draft>>);

struct Draft {
    nodes: Vec<Node>,
    /// From forms of state that the program had to those that it has.
    migrations: Migrations,
    mistakes: Vec<String>,
    parallelism: u32,
    max_parallelism: u32,
    chaining: bool,
    /// Counts the jobs that this program was started as; streams of an earlier one are stale.
    generation: u32,
}

struct Node {
    name: String,
    uid: Option<String>,
    /// Given by the user, or else the environment's.
    parallelism: Option<u32>,
    operator: Operator,
    inputs: Vec<StreamEdge>,
    feedback: Vec<StreamEdge>,
    output: Arc<dyn OutputFactory>,
    sides: BTreeMap<SideTag, Arc<dyn OutputFactory>>,
    declared: SideOutputs,
    assigns_watermarks: bool,
    needs_watermarks: bool,
    alignment: Option<WatermarkAlignment>,
}

/// A new operator.
pub(crate) struct NewNode {
    pub(crate) name: &'static str,
    pub(crate) operator: Operator,
    pub(crate) inputs: Vec<StreamEdge>,
    pub(crate) declared: SideOutputs,
    pub(crate) assigns_watermarks: bool,
    pub(crate) needs_watermarks: bool,
    pub(crate) alignment: Option<WatermarkAlignment>,
}

impl NewNode {
    pub(crate) fn new(name: &'static str, operator: Operator, inputs: Vec<StreamEdge>) -> Self {
        Self {
            name,
            operator,
            inputs,
            declared: SideOutputs::new(),
            assigns_watermarks: false,
            needs_watermarks: false,
            alignment: None,
        }
    }
}

/// An output that a stream stands for.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) node: NodeId,
    pub(crate) side: Option<SideTag>,
    pub(crate) exchange: Exchange,
    /// The [`Partition`] of [`Exchange::Custom`], whose type only its stream knows.
    pub(crate) partition: Option<Arc<dyn Any + Send + Sync>>,
    generation: u32,
}

impl Program {
    pub(crate) fn new(parallelism: u32, max_parallelism: Option<u32>, chaining: bool) -> Self {
        Self(Arc::new(Mutex::new(Draft {
            nodes: Vec::new(),
            migrations: Migrations::default(),
            mistakes: Vec::new(),
            parallelism,
            max_parallelism: max_parallelism.unwrap_or(DEFAULT_MAX_PARALLELISM),
            chaining,
            generation: 0,
        })))
    }

    fn draft(&self) -> MutexGuard<'_, Draft> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an operator whose main output carries `T`.
    pub(crate) fn add<T: Record>(&self, new: NewNode) -> Origin {
        let mut draft = self.draft();
        let node = NodeId(draft.nodes.len());
        draft.nodes.push(Node {
            name: new.name.to_owned(),
            uid: None,
            parallelism: None,
            operator: new.operator,
            inputs: new.inputs,
            feedback: Vec::new(),
            output: Arc::new(TypedOutput::<T>::default()),
            sides: BTreeMap::new(),
            declared: new.declared,
            assigns_watermarks: new.assigns_watermarks,
            needs_watermarks: new.needs_watermarks,
            alignment: new.alignment,
        });
        Origin {
            node,
            side: None,
            exchange: Exchange::Auto,
            partition: None,
            generation: draft.generation,
        }
    }

    /// Closes a loop.
    pub(crate) fn feed_back(&self, head: &Origin, edges: Vec<StreamEdge>) {
        self.edit(head, "iterate", |node| node.feedback = edges);
    }

    /// Refuses an exchange that what follows it would undo without a word.
    pub(crate) fn keep_exchange(&self, origins: &[Origin], next: &str) {
        let chosen = |origin: &&Origin| origin.exchange != Exchange::Auto;
        if let Some(Origin { exchange, .. }) = origins.iter().find(chosen) {
            self.draft().mistakes.push(format!(
                ".{exchange}() is undone by .{next}(..) right behind it: leave it out, or put an operator between the two"
            ));
        }
    }

    /// Declares a side output of an operator.
    pub(crate) fn side<S: Record>(&self, origin: &Origin, tag: &SideOutputTag<S>) -> Origin {
        self.edit(origin, "side_output", |node| {
            node.declared.declare(tag);
            let output = Arc::new(TypedOutput::<S>::default());
            node.sides.insert(tag.name().to_owned(), output);
        });
        Origin {
            side: Some(tag.name().to_owned()),
            exchange: Exchange::Auto,
            partition: None,
            ..origin.clone()
        }
    }

    /// Changes the operator behind an origin.
    fn edit(&self, origin: &Origin, what: &str, edit: impl FnOnce(&mut Node)) {
        let mut draft = self.draft();
        if origin.generation != draft.generation {
            draft.mistakes.push(format!(
                ".{what}(..) on a stream of a job that was started already: write each job anew from the environment"
            ));
            return;
        }
        if let Some(node) = draft.nodes.get_mut(origin.node.0) {
            edit(node);
        }
    }

    /// The one operator that a stream's settings are for.
    pub(crate) fn set(
        &self,
        origins: &[Origin],
        what: &str,
        edit: impl FnOnce(&mut NodeSettings<'_>),
    ) {
        match origins {
            [origin] if origin.side.is_none() => self.edit(origin, what, |node| {
                edit(&mut NodeSettings {
                    name: &mut node.name,
                    uid: &mut node.uid,
                    parallelism: &mut node.parallelism,
                });
            }),
            _ => self.draft().mistakes.push(format!(
                ".{what}(..) on a union or a side output, which is no operator: set it on the operator before or behind"
            )),
        }
    }

    /// The parallelism that was set on the one operator that a stream comes from.
    pub(crate) fn parallelism_of(&self, origins: &[Origin]) -> Option<u32> {
        let [origin] = origins else {
            return None;
        };
        let draft = self.draft();
        let node = draft.nodes.get(origin.node.0)?;
        node.parallelism
            .filter(|_| origin.generation == draft.generation)
    }

    /// Edges from some outputs of type `T`.
    pub(crate) fn edges<T: Record>(&self, origins: &[Origin]) -> Vec<StreamEdge> {
        self.edges_as::<T, AsItIs>(origins)
    }

    /// Edges from some outputs of type `T`, whose records travel as `C` says.
    pub(crate) fn edges_as<T: Record, C: Carry<T>>(&self, origins: &[Origin]) -> Vec<StreamEdge> {
        let edges = origins.iter().map(|origin| {
            let rebalance: Arc<dyn RouteFactory> = Arc::new(Rebalance::<T, C>::default());
            let partition = origin.partition.as_ref();
            let partition = partition.and_then(|any| any.downcast_ref::<Partition<T>>());
            let route: Arc<dyn RouteFactory> = match (origin.exchange, partition) {
                (Exchange::Custom, Some(partition)) => {
                    Arc::new(PartitionBy::<T, C>::new(Arc::clone(partition)))
                }
                (Exchange::Broadcast, _) => Arc::new(Broadcast::<T, C>::default()),
                (Exchange::Rebalance | Exchange::Rescale, _) => Arc::clone(&rebalance),
                (Exchange::Shuffle, _) => Arc::new(Shuffle::<T, C>::default()),
                (Exchange::Global, _) => Arc::new(Global::<T, C>::default()),
                _ => Arc::new(Forward::<T, C>::default()),
            };
            (origin, route, Some(rebalance))
        });
        self.checked(edges)
    }

    /// Refuses what is written on this environment's streams and on another's.
    pub(crate) fn joins(&self, other: &Self, what: &str) {
        if !Arc::ptr_eq(&self.0, &other.0) {
            self.draft().mistakes.push(format!(
                ".{what}(..) of streams of two environments: read both from one"
            ));
        }
    }

    /// Notes what is wrong with the program.
    pub(crate) fn mistake(&self, mistake: String) {
        self.draft().mistakes.push(mistake);
    }

    /// Adds a function from an old form of state to the present one.
    pub(crate) fn migrate<Old, New>(
        &self,
        operator: Option<&str>,
        type_name: &str,
        migrate: impl Fn(Old) -> New + Send + Sync + 'static,
    ) where
        Old: DeserializeOwned,
        New: Serialize + DeserializeOwned,
    {
        let mut draft = self.draft();
        let added = draft
            .migrations
            .add(operator.map(Into::into), type_name, migrate);
        draft.mistakes.extend(added.err());
    }

    /// Edges from some outputs that send by key.
    pub(crate) fn keyed_edges(
        &self,
        origins: &[Origin],
        route: Arc<dyn RouteFactory>,
        what: &str,
    ) -> Vec<StreamEdge> {
        self.keep_exchange(origins, what);
        let hashed: Vec<Origin> = origins
            .iter()
            .map(|origin| Origin {
                exchange: Exchange::Hash,
                ..origin.clone()
            })
            .collect();
        self.checked(
            hashed
                .iter()
                .map(|origin| (origin, Arc::clone(&route), None)),
        )
    }

    fn checked<'a>(
        &self,
        edges: impl Iterator<
            Item = (
                &'a Origin,
                Arc<dyn RouteFactory>,
                Option<Arc<dyn RouteFactory>>,
            ),
        >,
    ) -> Vec<StreamEdge> {
        let mut draft = self.draft();
        let mut checked = Vec::new();
        for (origin, route, rebalance) in edges {
            if origin.generation != draft.generation {
                draft.mistakes.push(
                    "a stream of a job that was started already is used in another: write each job anew from the environment"
                        .to_owned(),
                );
                continue;
            }
            checked.push(StreamEdge {
                from: origin.node,
                side: origin.side.clone(),
                exchange: origin.exchange,
                route,
                rebalance,
            });
        }
        checked
    }

    /// Takes the program as it stands and begins an empty one.
    pub(crate) fn take(&self) -> Result<JobGraph, JobError> {
        let mut draft = self.draft();
        draft.generation += 1;
        let nodes = std::mem::take(&mut draft.nodes);
        let mistakes = std::mem::take(&mut draft.mistakes);
        let migrations = std::mem::take(&mut draft.migrations);
        if let Some(first) = mistakes.into_iter().next() {
            return Err(JobError::Program(first));
        }
        let parallelism = draft.parallelism;
        let nodes = nodes
            .into_iter()
            .enumerate()
            .map(|(place, node)| StreamNode {
                // Derived from its place, it holds as long as nothing is put in before it.
                uid: rivus_core::OperatorUid(
                    node.uid.unwrap_or_else(|| format!("{}-{place}", node.name)),
                ),
                name: node.name,
                parallelism: node.parallelism.unwrap_or(parallelism),
                follows_job: node.parallelism.is_none(),
                operator: node.operator,
                inputs: node.inputs,
                feedback: node.feedback,
                output: node.output,
                sides: node.sides,
                assigns_watermarks: node.assigns_watermarks,
                needs_watermarks: node.needs_watermarks,
                alignment: node.alignment,
            })
            .collect();
        let graph = JobGraph::new(StreamGraph {
            nodes,
            max_parallelism: draft.max_parallelism,
            chaining: draft.chaining,
        })?;
        Ok(JobGraph {
            migrations,
            ..graph
        })
    }
}

/// What can be set on an operator.
pub(crate) struct NodeSettings<'a> {
    pub(crate) name: &'a mut String,
    pub(crate) uid: &'a mut Option<String>,
    pub(crate) parallelism: &'a mut Option<u32>,
}
