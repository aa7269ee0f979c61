//! Who receives from whom, and over what.

use rivus_core::{AttemptId, Failure};

use super::{JobTasksState, Placed};
use crate::remote::Elsewhere;
use crate::subtask::{Peer, Sender, SubtaskMessage};

impl JobTasksState {
    /// Tells an execution who its senders are.
    pub(super) fn connect(&mut self, attempt: AttemptId, peers: &[Placed]) {
        if !self.tasks.contains_key(&attempt) {
            return;
        }
        let Some(graph) = self.graph.clone() else {
            return;
        };
        let mut senders = Vec::new();
        for (edge, subtask) in graph.senders(attempt.subtask) {
            let sender = peers.iter().find(|peer| peer.attempt.subtask == subtask);
            let found = sender.and_then(|sender| {
                Some(Sender {
                    attempt: sender.attempt,
                    peer: self.peer(sender)?,
                    lane: graph.lane(subtask, edge.id, attempt.subtask)?,
                })
            });
            match found {
                Some(sender) => senders.push(sender),
                None => {
                    let failure = Failure::attempt(format!("{subtask}, a sender, is gone"));
                    self.fail(attempt, failure);
                    return;
                }
            }
        }
        self.send(attempt, SubtaskMessage::Connect(senders));
    }

    /// How an execution is reached from here, unless it is gone.
    fn peer(&self, placed: &Placed) -> Option<Peer> {
        let node = &self.args.node;
        if let Some(actor) = node.peers.get(&(self.args.job, placed.attempt)) {
            return Some(Peer::Here(actor));
        }
        let remote = node.remote.as_ref()?;
        let link = remote.link_to(node, self.args.incarnation, placed)?;
        Some(Peer::Elsewhere(Elsewhere {
            link,
            job: self.args.job,
            attempt: placed.attempt,
        }))
    }
}
