//! The program as its author wrote it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use thiserror::Error;

use crate::drift::WatermarkAlignment;
use crate::ids::OperatorUid;
use crate::key::MAX_PARALLELISM_LIMIT;
use crate::snapshot::StateType;
use crate::task::{
    OperatorFactory, OutputFactory, RouteFactory, SideTag, SidesRead, SourceFactory,
};

/// An operator's place in its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// How records cross to the next operator's subtasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exchange {
    /// Forward where the parallelism is equal, else rebalance.
    Auto,
    /// To the subtask of the same index.
    Forward,
    /// To the owner of the key's group.
    Hash,
    /// To one subtask after the other.
    Rebalance,
    /// To every subtask.
    Broadcast,
    /// To one after the other of the sender's own share of the subtasks.
    Rescale,
    /// To one of the subtasks by chance.
    Shuffle,
    /// To the first subtask.
    Global,
    /// To the subtask that a function chooses.
    Custom,
}

impl Exchange {
    /// The subtasks, of `to` in all, that subtask `index` of `from` sends to.
    pub(super) fn targets(self, index: u32, from: u32, to: u32) -> Range<u32> {
        match self {
            Self::Forward => index..index + 1,
            Self::Rescale => share(index, from, to),
            _ => 0..to,
        }
    }

    /// The subtasks, of `from` in all, that send to subtask `index` of `to`.
    pub(super) fn origins(self, index: u32, from: u32, to: u32) -> Range<u32> {
        self.targets(index, to, from)
    }
}

/// The share that one of `of` subtasks has in `others`: several of its own if there are more of those, else one that it
/// shares with its neighbours. Read from either side, the pairs are the same.
fn share(index: u32, of: u32, others: u32) -> Range<u32> {
    if others < of {
        let one = index * others / of;
        return one..one + 1;
    }
    let first = |index: u32| (index * others).div_ceil(of);
    first(index)..first(index + 1)
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Forward => "forward",
            Self::Hash => "hash",
            Self::Rebalance => "rebalance",
            Self::Broadcast => "broadcast",
            Self::Rescale => "rescale",
            Self::Shuffle => "shuffle",
            Self::Global => "global",
            Self::Custom => "partition_custom",
        })
    }
}

/// What makes an operator's part of a task.
#[derive(Clone)]
pub enum Operator {
    /// Brings records in.
    Source(Arc<dyn SourceFactory>),
    /// Transforms records, or takes them out.
    Transform(Arc<dyn OperatorFactory>),
}

impl Operator {
    fn check(&self, read: &SidesRead) -> Result<(), String> {
        match self {
            Self::Source(source) => source.check(read),
            Self::Transform(operator) => operator.check(read),
        }
    }

    /// What it keeps, if it says so.
    pub(super) fn states(&self) -> Vec<StateType> {
        match self {
            Self::Source(source) => source.states(),
            Self::Transform(operator) => operator.states(),
        }
    }

    fn is_single(&self) -> bool {
        match self {
            Self::Source(_) => false,
            Self::Transform(operator) => operator.is_single(),
        }
    }

    fn target(&self) -> Option<String> {
        match self {
            Self::Source(_) => None,
            Self::Transform(operator) => operator.target(),
        }
    }
}

/// From which output an operator reads, and how.
#[derive(Clone)]
pub struct StreamEdge {
    /// The operator that emits.
    pub from: NodeId,
    /// Its side output, or its main one.
    pub side: Option<SideTag>,
    /// How records cross.
    pub exchange: Exchange,
    /// Sends the records; for [`Exchange::Auto`] the forward way.
    pub route: Arc<dyn RouteFactory>,
    /// Sends them when `Auto` turns out to be a rebalance.
    pub rebalance: Option<Arc<dyn RouteFactory>>,
}

/// An operator as written.
#[derive(Clone)]
pub struct StreamNode {
    /// The name that its state is found by.
    pub uid: OperatorUid,
    /// For people.
    pub name: String,
    /// How many subtasks.
    pub parallelism: u32,
    /// Whether that is the job's parallelism, rather than one of its own.
    pub follows_job: bool,
    /// Its work.
    pub operator: Operator,
    /// What it reads; several are a union.
    pub inputs: Vec<StreamEdge>,
    /// What comes round to it, if it is the head of a loop: of the same type, from operators that come after it.
    pub feedback: Vec<StreamEdge>,
    /// Its main output.
    pub output: Arc<dyn OutputFactory>,
    /// Its side outputs that somebody reads.
    pub sides: SidesRead,
    /// Whether watermarks begin here.
    pub assigns_watermarks: bool,
    /// Whether it makes no progress without watermarks.
    pub needs_watermarks: bool,
    /// With whose its watermarks are aligned, if they begin here.
    pub alignment: Option<WatermarkAlignment>,
}

/// A program that can't run, in one line that names the operator and the mend.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GraphError {
    /// Nothing was written.
    #[error("the job is empty: begin with a source, such as env.from_collection(..)")]
    Empty,
    /// Two operators would find each other's state.
    #[error(
        "operators \"{first}\" and \"{second}\" both have uid \"{uid}\": give one another .uid(..)"
    )]
    DuplicateUid {
        /// The uid.
        uid: OperatorUid,
        /// Name of one.
        first: String,
        /// Name of the other.
        second: String,
    },
    /// The operator itself refuses.
    #[error("operator \"{operator}\": {reason}")]
    Refused {
        /// Its name.
        operator: String,
        /// What is wrong, and the mend.
        reason: String,
    },
    /// Two sinks would overwrite each other's records.
    #[error(
        "sinks \"{first}\" and \"{second}\" both write to {target}: \
         give each its own (for files, another directory or prefix)"
    )]
    SharedTarget {
        /// What they write to.
        target: String,
        /// Uid of one.
        first: OperatorUid,
        /// Uid of the other.
        second: OperatorUid,
    },
    /// Some subtasks would own no key group.
    #[error(
        "operator \"{operator}\" has parallelism {parallelism}, above the job's max_parallelism {max}: \
         lower it, or raise .max_parallelism(..) (which can't change once the job has state)"
    )]
    ParallelismAboveMax {
        /// Its name.
        operator: String,
        /// What it asks for.
        parallelism: u32,
        /// What there is.
        max: u32,
    },
    /// Nothing would run it.
    #[error("operator \"{operator}\" has parallelism 0: give it at least .parallelism(1)")]
    ZeroParallelism {
        /// Its name.
        operator: String,
    },
    /// Subtasks would each see a part of what is to be seen as a whole.
    #[error(
        "operator \"{operator}\" works on all records in one place and has parallelism {parallelism}: \
         leave .parallelism(..) out, or divide the stream by .key_by(..) before its windows"
    )]
    OneSubtask {
        /// Its name.
        operator: String,
        /// What it asks for.
        parallelism: u32,
    },
    /// Too many key groups, or none.
    #[error("max_parallelism is {max}: it must lie between 1 and {MAX_PARALLELISM_LIMIT}")]
    BadMaxParallelism {
        /// What was asked for.
        max: u32,
    },
    /// Its windows would never fire.
    #[error(
        "operator \"{operator}\" works in event time, but no watermarks reach it from \"{source_name}\": \
         call .assign_watermarks(..) between the two"
    )]
    NoWatermarks {
        /// Its name.
        operator: String,
        /// The source whose records have no time.
        source_name: String,
    },
    /// Its source could not wait for others.
    #[error(
        "operator \"{operator}\" aligns watermarks in group \"{group}\", but records cross to \"{behind}\" on their way to it, so their \
         source can't wait: call .assign_watermarks(..) right behind the source, at its parallelism"
    )]
    AlignedBehindExchange {
        /// Its name.
        operator: String,
        /// The group.
        group: String,
        /// The operator that records cross to.
        behind: String,
    },
    /// A group has one drift.
    #[error(
        "watermarks of \"{first}\" and \"{second}\" are both aligned in group \"{group}\", but not in the same way: give both the same \
         drift and update interval, or each a group of its own"
    )]
    UnequalAlignment {
        /// The group.
        group: String,
        /// Uid of one.
        first: OperatorUid,
        /// Uid of the other.
        second: OperatorUid,
    },
    /// What is fed back isn't the loop's own.
    #[error(
        "what \"{from}\" emits is fed back into iteration \"{iteration}\", but doesn't come from it: return a stream that is made of \
         the one that the body is given"
    )]
    StrangeFeedback {
        /// Name of its head.
        iteration: String,
        /// The operator that it comes from.
        from: String,
    },
    /// A loop without a body.
    #[error(
        "iteration \"{iteration}\" feeds all that it gets straight back, so it never ends: put an operator that lets records \
         go, such as .filter(..), between the two"
    )]
    EmptyLoop {
        /// Name of its head.
        iteration: String,
    },
    /// Loops don't nest.
    #[error(
        "iteration \"{inner}\" stands inside iteration \"{iteration}\": let one loop do both, with an enum of what goes round"
    )]
    NestedLoop {
        /// Name of the outer one's head.
        iteration: String,
        /// Name of the inner one's head.
        inner: String,
    },
    /// Watermarks are not true of what goes round.
    #[error(
        "operator \"{operator}\" works in event time, but its watermarks come through iteration \"{iteration}\", and what goes round \
         there may be older than they say: call .assign_watermarks(..) between the two"
    )]
    TimeOfLoop {
        /// Its name.
        operator: String,
        /// Name of the loop's head.
        iteration: String,
    },
    /// Forward joins subtasks one to one.
    #[error(
        "\"{from}\" ({from_parallelism} subtasks) forwards to \"{to}\" ({to_parallelism}): \
         make them equal, or use .rebalance()"
    )]
    UnequalForward {
        /// The sender's name.
        from: String,
        /// Its parallelism.
        from_parallelism: u32,
        /// The receiver's name.
        to: String,
        /// Its parallelism.
        to_parallelism: u32,
    },
}

/// A program: operators in the order in which they were written, so inputs come first.
#[derive(Clone)]
pub struct StreamGraph {
    /// Operators; a [`NodeId`] is an index.
    pub nodes: Vec<StreamNode>,
    /// Number of key groups.
    pub max_parallelism: u32,
    /// Whether equal operators on forward edges share a subtask.
    pub chaining: bool,
}

impl StreamGraph {
    /// Refuses programs that can't run.
    ///
    /// # Errors
    /// The first reason found.
    pub fn check(&self) -> Result<(), GraphError> {
        if self.nodes.is_empty() {
            return Err(GraphError::Empty);
        }
        let max = self.max_parallelism;
        if max == 0 || max > MAX_PARALLELISM_LIMIT {
            return Err(GraphError::BadMaxParallelism { max });
        }
        let mut uids: BTreeMap<&OperatorUid, &StreamNode> = BTreeMap::new();
        let mut targets: BTreeMap<String, &OperatorUid> = BTreeMap::new();
        for node in &self.nodes {
            if let Some(other) = uids.insert(&node.uid, node) {
                return Err(GraphError::DuplicateUid {
                    uid: node.uid.clone(),
                    first: other.name.clone(),
                    second: node.name.clone(),
                });
            }
            if let Some(target) = node.operator.target()
                && let Some(first) = targets.insert(target.clone(), &node.uid)
            {
                return Err(GraphError::SharedTarget {
                    target,
                    first: first.clone(),
                    second: node.uid.clone(),
                });
            }
            self.check_operator(node)?;
            self.check_parallelism(node)?;
        }
        self.check_alignment()?;
        self.check_loops()
    }

    fn check_operator(&self, node: &StreamNode) -> Result<(), GraphError> {
        if let Err(reason) = node.operator.check(&node.sides) {
            return Err(GraphError::Refused {
                operator: node.name.clone(),
                reason,
            });
        }
        if node.needs_watermarks
            && let Some(source) = self.unmarked_source(node)
        {
            return Err(GraphError::NoWatermarks {
                operator: node.name.clone(),
                source_name: source.to_owned(),
            });
        }
        Ok(())
    }

    fn check_parallelism(&self, node: &StreamNode) -> Result<(), GraphError> {
        if node.parallelism == 0 {
            return Err(GraphError::ZeroParallelism {
                operator: node.name.clone(),
            });
        }
        if node.parallelism > 1 && node.operator.is_single() {
            return Err(GraphError::OneSubtask {
                operator: node.name.clone(),
                parallelism: node.parallelism,
            });
        }
        if node.parallelism > self.max_parallelism {
            return Err(GraphError::ParallelismAboveMax {
                operator: node.name.clone(),
                parallelism: node.parallelism,
                max: self.max_parallelism,
            });
        }
        for edge in node.inputs.iter().chain(&node.feedback) {
            let from = &self.nodes[edge.from.0];
            if edge.exchange == Exchange::Forward && from.parallelism != node.parallelism {
                return Err(GraphError::UnequalForward {
                    from: from.name.clone(),
                    from_parallelism: from.parallelism,
                    to: node.name.clone(),
                    to_parallelism: node.parallelism,
                });
            }
        }
        Ok(())
    }

    /// Name of a source from which records reach the operator without passing one that assigns watermarks.
    pub fn unmarked_source(&self, node: &StreamNode) -> Option<&str> {
        let mut seen = BTreeSet::new();
        let mut ways: Vec<NodeId> = node.inputs.iter().map(|edge| edge.from).collect();
        while let Some(id) = ways.pop() {
            let upstream = &self.nodes[id.0];
            if upstream.assigns_watermarks || !seen.insert(id) {
                continue;
            }
            if upstream.inputs.is_empty() {
                return Some(&upstream.name);
            }
            ways.extend(upstream.inputs.iter().map(|edge| edge.from));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use crate::graph::picture::program;
    use crate::stage::AnyStage;
    use crate::task::{BuildContext, Outlets, Task};

    /// What a program is told, for the ones that are refused.
    fn refusal(text: &str, change: impl Fn(&mut StreamGraph)) -> String {
        let mut program = program(text);
        change(&mut program);
        match program.check() {
            Ok(()) => "fine".into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_program_that_cannot_run_is_told_the_operator_and_the_mend() {
        let as_written = |_: &mut StreamGraph| {};
        let cases = [
            (
                refusal("", as_written),
                "the job is empty: begin with a source, such as env.from_collection(..)",
            ),
            (
                refusal("a:1; b:1 <- a; c:1 <- b", |program| {
                    program.nodes[2].uid = "a".into();
                }),
                "operators \"a\" and \"c\" both have uid \"a\": give one another .uid(..)",
            ),
            (
                refusal("a:1; b:129 <- a", as_written),
                "operator \"b\" has parallelism 129, above the job's max_parallelism 128: lower it, or \
                 raise .max_parallelism(..) (which can't change once the job has state)",
            ),
            (
                refusal("a:1; b:0 <- a", as_written),
                "operator \"b\" has parallelism 0: give it at least .parallelism(1)",
            ),
            (
                refusal("a:1", |program| program.max_parallelism = 0),
                "max_parallelism is 0: it must lie between 1 and 32768",
            ),
            (
                refusal("a:1", |program| program.max_parallelism = 32_769),
                "max_parallelism is 32769: it must lie between 1 and 32768",
            ),
            (
                refusal("a:1; b:1 <- a; c:1? <- b~hash", as_written),
                "operator \"c\" works in event time, but no watermarks reach it from \"a\": call \
                 .assign_watermarks(..) between the two",
            ),
            (
                refusal("a:2; b:3 <- a~forward", as_written),
                "\"a\" (2 subtasks) forwards to \"b\" (3): make them equal, or use .rebalance()",
            ),
        ];
        for (actual, expected) in cases {
            assert_eq!(actual, expected);
        }
    }

    /// A sink that writes to a shelf, or refuses.
    struct Shelf(Result<&'static str, &'static str>);

    impl OperatorFactory for Shelf {
        fn check(&self, read: &SidesRead) -> Result<(), String> {
            crate::task::no_side_outputs(read)?;
            self.0.map(drop).map_err(str::to_owned)
        }
        fn target(&self) -> Option<String> {
            self.0.ok().map(str::to_owned)
        }
        fn stage(&self, _: &BuildContext<'_>, _: Outlets) -> Result<AnyStage, Failure> {
            unreachable!("the program is only checked")
        }
        fn head(&self, _: AnyStage) -> Result<Box<dyn Task>, Failure> {
            unreachable!("the program is only checked")
        }
    }

    /// What a program `a -> b, c` is told, whose `b` and `c` are sinks.
    fn told(b: Shelf, c: Shelf, read: bool) -> String {
        let mut program = program("a:1; b:1 <- a; c:1 <- a");
        for (node, sink) in program.nodes[1..].iter_mut().zip([b, c]) {
            node.operator = Operator::Transform(Arc::new(sink));
            if !read {
                node.sides.clear();
            }
        }
        match program.check() {
            Ok(()) => "fine".into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_operator_may_refuse_its_program_and_no_two_sinks_share_a_target() {
        let shelf = |name| Shelf(Ok(name));
        assert_eq!(told(shelf("one"), shelf("two"), false), "fine");
        assert_eq!(
            told(shelf("one"), shelf("one"), false),
            "sinks \"b\" and \"c\" both write to one: give each its own (for files, another directory \
             or prefix)"
        );
        assert_eq!(
            told(shelf("one"), Shelf(Err("too short: give more")), false),
            "operator \"c\": too short: give more"
        );
        assert_eq!(
            told(shelf("one"), shelf("two"), true),
            "operator \"b\": side output \"late\" is read, but the operator has none of that name: \
             compare the tags"
        );
    }

    #[test]
    fn watermarks_must_reach_an_operator_on_every_way_from_a_source() {
        // The picture, and whether every way is marked.
        let table = [
            ("a:1!; b:1? <- a", true),
            ("a:1; b:1! <- a; c:1? <- b~hash", true),
            ("a:1!; b:1; c:1? <- a b", false),
            ("a:1!; b:1; c:1! <- b; d:1? <- a c", true),
            ("a:1; b:1 <- a; c:1! <- b; d:1? <- b c", false),
            ("a:1; b:1! <- a; c:1? <- b.late", true),
            ("a:1; b:1 <- a", true),
        ];
        for (picture, fine) in table {
            assert_eq!(program(picture).check().is_ok(), fine, "{picture}");
        }
    }

    #[test]
    fn a_rescale_gives_each_subtask_its_own_share() {
        // Subtasks before and behind, and for each before those that it sends to.
        let table = [
            (2, 4, "01 23"),
            (4, 2, "0 0 1 1"),
            (2, 5, "012 34"),
            (5, 2, "0 0 0 1 1"),
            (3, 3, "0 1 2"),
            (1, 3, "012"),
        ];
        for (from, to, expected) in table {
            let targets = (0..from).map(|index| {
                let targets = Exchange::Rescale.targets(index, from, to);
                targets.map(|index| index.to_string()).collect::<String>()
            });
            assert_eq!(targets.collect::<Vec<_>>().join(" "), expected);
            for sender in 0..from {
                for receiver in 0..to {
                    let sends = Exchange::Rescale.targets(sender, from, to);
                    let origins = Exchange::Rescale.origins(receiver, from, to);
                    assert_eq!(sends.contains(&receiver), origins.contains(&sender));
                }
            }
        }
    }

    #[test]
    fn the_limits_themselves_are_allowed() {
        for (parallelism, max) in [(1, 1), (128, 128), (32_768, 32_768)] {
            let mut program = program(&format!("a:{parallelism}"));
            program.max_parallelism = max;
            assert_eq!(program.check(), Ok(()));
        }
    }
}
