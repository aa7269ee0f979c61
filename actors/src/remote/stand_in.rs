//! Who takes messages for an actor of another process.

use std::marker::PhantomData;

use ractor::{Actor, ActorProcessingErr, ActorRef, Message};

/// Takes the messages that are meant for an actor of another process, and does with each what it was started with: puts it on the wire.
/// What it holds, such as the link, it holds as long as it lives.
pub(super) struct StandIn<M>(PhantomData<fn(M)>);

impl<M> Default for StandIn<M> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// What is done with each message.
pub(super) type Pass<M> = Box<dyn FnMut(M) + Send>;

impl<M: Message> Actor for StandIn<M> {
    type Msg = M;
    type State = Pass<M>;
    type Arguments = Pass<M>;

    async fn pre_start(
        &self,
        _myself: ActorRef<M>,
        pass: Pass<M>,
    ) -> Result<Pass<M>, ActorProcessingErr> {
        Ok(pass)
    }

    async fn handle(
        &self,
        _myself: ActorRef<M>,
        message: M,
        pass: &mut Pass<M>,
    ) -> Result<(), ActorProcessingErr> {
        pass(message);
        Ok(())
    }
}
