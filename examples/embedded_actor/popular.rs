//! The service's own actor.

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

/// Remembers which pages are popular, and supervises the job. Like any actor that doesn't say
/// otherwise, it stops when its child does: without the job there is no service.
pub struct Popular;

/// What [`Popular`] is told.
pub enum PopularMessage {
    /// A page has become popular.
    Page(String),
    /// Which are?
    List(RpcReplyPort<Vec<String>>),
}

impl Actor for Popular {
    type Msg = PopularMessage;
    type State = Vec<String>;
    type Arguments = Vec<String>;

    async fn pre_start(
        &self,
        _myself: ActorRef<PopularMessage>,
        pages: Vec<String>,
    ) -> Result<Vec<String>, ActorProcessingErr> {
        Ok(pages)
    }

    async fn handle(
        &self,
        _myself: ActorRef<PopularMessage>,
        message: PopularMessage,
        pages: &mut Vec<String>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PopularMessage::Page(page) => pages.push(page),
            PopularMessage::List(reply) => reply.send(pages.clone())?,
        }
        Ok(())
    }
}
