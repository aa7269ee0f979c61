//! What sources find: their splits when the job begins, and others while it runs. Looking may block, so it is
//! done on the pool; an enumerator goes there with the question and comes back with the answer.

use std::sync::Arc;
use std::time::Duration;

use ractor::ActorProcessingErr;
use rivus_core::job::{JobEvent, SplitPool};
use rivus_core::{
    AnyEnumerator, Discovered, EncodedSplit, Failure, FailureScope, FoundSplit, KnownSplits,
    Operator, OperatorUid, SourceFactory, VertexId,
};

use super::{JobMasterMessage, JobMasterState};

/// A look for new splits that has been taken.
pub struct Look {
    source: VertexId,
    /// None if it could not be made, or broke.
    enumerator: Option<AnyEnumerator>,
    found: Result<Discovered<FoundSplit>, Failure>,
    interval: Duration,
}

/// Wait before an enumerator that broke is made again.
const AGAIN: Duration = Duration::from_secs(1);

impl JobMasterState {
    /// The source at the head of a vertex, and its name.
    fn source(&self, source: VertexId) -> Option<(Arc<dyn SourceFactory>, OperatorUid)> {
        let graph = &self.args.graph;
        let node = graph.node(graph.vertex(source).nodes[0]);
        match &node.operator {
            Operator::Source(factory) => Some((Arc::clone(factory), node.uid.clone())),
            Operator::Transform(_) => None,
        }
    }

    /// Asks a source for its first splits, and for what finds others.
    pub(super) fn find_splits(&self, source: VertexId) {
        let Some((factory, uid)) = self.source(source) else {
            return;
        };
        let (parallelism, myself) = (
            self.args.graph.vertex(source).parallelism,
            self.myself.clone(),
        );
        self.args.node.blocking.run(Box::new(move || {
            let find = || {
                let splits = factory.splits(parallelism).map_err(Failure::permanent)?;
                let known = splits.iter().map(|split| split.bytes.clone()).collect();
                let enumerator = factory.enumerator(KnownSplits::of(known));
                Ok((splits, enumerator.map_err(Failure::permanent)?))
            };
            // What a source finds is not looked for twice.
            let found = Failure::caught(find).map_err(|failure| for_good(failure, &uid));
            let _ = myself.cast(JobMasterMessage::SplitsFound { source, found });
        }));
    }

    pub(super) fn splits_found(
        &mut self,
        source: VertexId,
        found: Result<(Vec<EncodedSplit>, Option<AnyEnumerator>), Failure>,
    ) -> Result<(), ActorProcessingErr> {
        let (splits, enumerator) = match found {
            Ok((splits, enumerator)) => (Ok(splits), enumerator),
            Err(failure) => (Err(failure), None),
        };
        let open = enumerator.is_some();
        if let Some(enumerator) = enumerator {
            self.enumerators.insert(source, enumerator);
        }
        self.decide(JobEvent::SplitsFound {
            source,
            splits,
            open,
        })
    }

    /// Has a source look for new splits. A new leader's enumerator is told of what is in the log.
    pub(super) fn discover_splits(&mut self, source: VertexId) {
        let Some((factory, uid)) = self.source(source) else {
            return;
        };
        let known = match self.enumerators.remove(&source) {
            Some(enumerator) => Ok(enumerator),
            None => {
                let pool = self.machine.as_ref().map(|machine| machine.state());
                let pool = pool.and_then(|state| state.splits.get(&source));
                Err(pool.map(SplitPool::known).unwrap_or_default())
            }
        };
        let (now, myself) = (self.args.node.clock.unix_millis(), self.myself.clone());
        self.args.node.blocking.run(Box::new(move || {
            let look = || look(&*factory, source, known, now);
            let look = Failure::caught(look).unwrap_or_else(|failure| Look {
                source,
                enumerator: None,
                found: Err(failure),
                interval: AGAIN,
            });
            let found = look.found.map_err(|failure| failure.blame(&uid));
            let _ = myself.cast(JobMasterMessage::SplitsDiscovered(Box::new(Look {
                found,
                ..look
            })));
        }));
    }

    pub(super) fn splits_discovered(&mut self, look: Look) -> Result<(), ActorProcessingErr> {
        let Look {
            source,
            enumerator,
            found,
            interval,
        } = look;
        if let Some(enumerator) = enumerator {
            self.enumerators.insert(source, enumerator);
        }
        if let Err(failure) = &found {
            tracing::warn!(job = %self.args.job, %failure, "a source can't look for new splits");
        }
        self.decide(JobEvent::SplitsDiscovered {
            source,
            found,
            interval,
        })
    }
}

/// Takes a look, with the enumerator or with one that knows what was found before.
fn look(
    factory: &dyn SourceFactory,
    source: VertexId,
    known: Result<AnyEnumerator, KnownSplits<Vec<u8>>>,
    now: i64,
) -> Result<Look, Failure> {
    let enumerator = match known {
        Ok(enumerator) => Some(enumerator),
        Err(known) => factory.enumerator(known).map_err(Failure::permanent)?,
    };
    let Some(mut enumerator) = enumerator else {
        // The program has been changed: it doesn't look any more.
        let found = Discovered {
            splits: Vec::new(),
            last: true,
        };
        return Ok(Look {
            source,
            enumerator: None,
            found: Ok(found),
            interval: AGAIN,
        });
    };
    let found = enumerator.discover(now);
    Ok(Look {
        source,
        interval: enumerator.interval(),
        // After an error it may take for found what nobody was told of: the next one begins with what is in the log.
        enumerator: found.is_ok().then_some(enumerator),
        found: found.map_err(|error| Failure::user(&error)),
    })
}

fn for_good(failure: Failure, uid: &OperatorUid) -> Failure {
    Failure {
        scope: FailureScope::Job,
        ..failure.blame(uid)
    }
}
