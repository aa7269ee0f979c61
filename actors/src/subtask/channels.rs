//! The other ends of a subtask's channels. What is said over a channel is the same wherever its other end is; only batches
//! are encoded on their way to another process, in the turn of whoever sends them, and made records of in the turn of
//! whoever works on them.

use ractor::{ActorProcessingErr, ActorRef};
use rivus_core::{AttemptId, Element, Failure, GivenBack};

use super::{SubtaskMessage, SubtaskState};
use crate::job_tasks::TaskEvent;
use crate::remote::{Elsewhere, LinkId};

/// An execution at the other end of a channel.
#[derive(Clone)]
pub enum Peer {
    /// In this process.
    Here(ActorRef<SubtaskMessage>),
    /// In another one.
    Elsewhere(Elsewhere),
}

/// The sending end of an input channel.
pub struct Sender {
    /// Which execution.
    pub attempt: AttemptId,
    /// Where it is.
    pub peer: Peer,
    /// The channel, as it counts.
    pub lane: usize,
}

/// The receiving end of an output channel.
pub struct Receiver {
    /// Which execution.
    pub attempt: AttemptId,
    /// Where it is.
    pub peer: Peer,
    /// The channel, as it counts.
    pub channel: usize,
}

impl Sender {
    /// Gives it more credit. What is given back goes home only within a process; elsewhere there is nothing of it.
    pub(super) fn credit(&self, granted: u64, given_back: Vec<GivenBack>) -> Result<(), Failure> {
        match &self.peer {
            Peer::Here(actor) => {
                let _ = actor.cast(SubtaskMessage::Credit {
                    lane: self.lane,
                    granted,
                    given_back,
                });
                Ok(())
            }
            Peer::Elsewhere(peer) => peer.credit(self.lane, granted),
        }
    }

    /// Opens the channel to a receiver of this process.
    fn open(
        &self,
        myself: &ActorRef<SubtaskMessage>,
        attempt: AttemptId,
        channel: usize,
        granted: u64,
    ) -> Result<(), Failure> {
        match &self.peer {
            Peer::Here(actor) => {
                let _ = actor.cast(SubtaskMessage::Open {
                    lane: self.lane,
                    producer: self.attempt,
                    receiver: Receiver {
                        attempt,
                        peer: Peer::Here(myself.clone()),
                        channel,
                    },
                    granted,
                });
                Ok(())
            }
            Peer::Elsewhere(peer) => peer.open(self.lane, attempt, channel, granted),
        }
    }
}

impl Receiver {
    fn send(&self, seq: u64, element: Element) -> Result<(), Failure> {
        match &self.peer {
            Peer::Here(actor) => {
                // If the receiver has died since, its region, which is the sender's, is about to restart.
                let _ = actor.cast(SubtaskMessage::Element {
                    channel: self.channel,
                    seq,
                    element,
                });
                Ok(())
            }
            Peer::Elsewhere(peer) => peer.element(self.channel, seq, &element),
        }
    }
}

/// The receiving ends of an execution's output channels, each closed until its receiver opens it.
pub(super) struct Receivers {
    producer: AttemptId,
    lanes: Vec<Option<Receiver>>,
}

impl Receivers {
    pub(super) fn closed(producer: AttemptId, lanes: usize) -> Self {
        Self {
            producer,
            lanes: (0..lanes).map(|_| None).collect(),
        }
    }

    pub(super) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Opens a channel if it is this execution's that the receiver means: two attempts of one subtask never feed one. Returns
    /// whether it is.
    pub(super) fn open(&mut self, lane: usize, producer: AttemptId, receiver: Receiver) -> bool {
        match self.lanes.get_mut(lane) {
            Some(lane) if producer == self.producer => {
                *lane = Some(receiver);
                true
            }
            _ => false,
        }
    }

    fn get(&self, lane: usize) -> Option<&Receiver> {
        self.lanes.get(lane)?.as_ref()
    }

    fn opened(&self) -> impl Iterator<Item = &Receiver> {
        self.lanes.iter().flatten()
    }
}

impl SubtaskState {
    /// Opens every input channel at its sender.
    pub(super) fn connect(&mut self, senders: Vec<Sender>) -> Result<(), Failure> {
        if self.connected {
            // A new leader connects again what the old one may have connected.
            return Ok(());
        }
        for (channel, sender) in senders.iter().enumerate() {
            let granted = self.work()?.granted(channel);
            sender.open(&self.myself, self.args.attempt, channel, granted)?;
        }
        self.senders = senders;
        self.connected = true;
        self.tell(TaskEvent::Running);
        self.begin_alignment();
        self.step();
        Ok(())
    }

    pub(super) fn send_outgoing(&mut self) -> Result<(), ActorProcessingErr> {
        let Some(work) = &mut self.work else {
            return Ok(());
        };
        for outgoing in work.cx.outputs.drain() {
            // A closed channel has granted no credit, and barriers flow only when all are open.
            let Some(receiver) = self.receivers.get(outgoing.lane) else {
                return Err(Box::new(Failure::attempt(format!(
                    "output {} was used before its receiver opened it",
                    outgoing.lane
                ))));
            };
            receiver.send(outgoing.seq, outgoing.element)?;
        }
        Ok(())
    }

    /// Who has a channel over a link that is lost can't know what has arrived: it fails, and its region restarts.
    pub(super) fn link_lost(&self, link: LinkId, reason: &str) -> Result<(), Failure> {
        let senders = self.senders.iter().map(|sender| &sender.peer);
        let receivers = self.receivers.opened();
        let mut peers = senders.chain(receivers.map(|receiver| &receiver.peer));
        let lost = peers.find_map(|peer| match peer {
            Peer::Elsewhere(peer) if peer.link.id == link => Some(peer),
            _ => None,
        });
        match lost {
            Some(peer) => Err(peer.lost(reason)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use ractor::Actor;
    use rivus_core::{SubtaskId, VertexId};

    use super::*;

    /// Whoever is at the other end.
    struct Anybody;

    impl Actor for Anybody {
        type Msg = SubtaskMessage;
        type State = ();
        type Arguments = ();

        async fn pre_start(
            &self,
            _: ActorRef<SubtaskMessage>,
            (): (),
        ) -> Result<(), ActorProcessingErr> {
            Ok(())
        }
    }

    fn attempt(vertex: u32, index: u32, attempt: u32) -> AttemptId {
        AttemptId {
            subtask: SubtaskId {
                vertex: VertexId(vertex),
                index,
            },
            attempt,
        }
    }

    #[tokio::test]
    async fn a_channel_is_opened_only_by_who_means_this_very_attempt() {
        let (actor, _) = Actor::spawn(None, Anybody, ()).await.expect("it starts");
        for (lane, producer, is_meant) in [
            (1, attempt(3, 0, 2), true),
            // What it was before, and what it will be.
            (1, attempt(3, 0, 1), false),
            (1, attempt(3, 0, 3), false),
            // Its neighbour.
            (1, attempt(3, 1, 2), false),
            // There is no such channel.
            (2, attempt(3, 0, 2), false),
        ] {
            let mut receivers = Receivers::closed(attempt(3, 0, 2), 2);
            let receiver = Receiver {
                attempt: attempt(4, 0, 1),
                peer: Peer::Here(actor.clone()),
                channel: 0,
            };
            let opened = receivers.open(lane, producer, receiver);
            assert_eq!(opened, is_meant, "{producer} on {lane}");
            assert_eq!(receivers.get(lane).is_some(), is_meant);
            assert_eq!(receivers.opened().count(), usize::from(is_meant));
        }
        actor.stop(None);
    }
}
