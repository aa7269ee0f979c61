//! Counts page views inside a web service: its actors feed the job, the job feeds an actor, and a handler asks for state.
//!
//! ```text
//! cargo run --example embedded_actor -- --listen 127.0.0.1:3000
//! curl -d '/about' 127.0.0.1:3000/views     # 202 when a checkpoint covers it
//! curl 127.0.0.1:3000/views/about           # 1
//! curl 127.0.0.1:3000/popular               # pages with so many views or more, in the order in which they got there
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use clap::Parser;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use rivus::{ActorFeed, ActorSink, ActorSource, JobHandle, StreamEnvironment};

/// Counts page views, which come and are asked for over HTTP.
#[derive(Parser)]
pub struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Views that make a page popular.
    #[arg(long, default_value_t = 3)]
    popular: u64,
    /// Subtasks that count.
    #[arg(long, default_value_t = 2)]
    parallelism: u32,
}

/// The service's own actor: it supervises the job, and remembers which pages are popular.
pub struct Popular;

/// What [`Popular`] is told.
pub enum PopularMessage {
    /// The job it is to supervise.
    Supervise(JobHandle),
    /// A page has become popular.
    Page(String),
    /// Which are?
    List(RpcReplyPort<Vec<String>>),
}

impl Actor for Popular {
    type Msg = PopularMessage;
    type State = Vec<String>;
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ActorRef<PopularMessage>,
        _: (),
    ) -> Result<Vec<String>, ActorProcessingErr> {
        Ok(Vec::new())
    }

    async fn handle(
        &self,
        myself: ActorRef<PopularMessage>,
        message: PopularMessage,
        pages: &mut Vec<String>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PopularMessage::Supervise(job) => drop(job.link(myself.get_cell()).await?),
            PopularMessage::Page(page) => pages.push(page),
            PopularMessage::List(reply) => reply.send(pages.clone())?,
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<PopularMessage>,
        event: SupervisionEvent,
        _: &mut Vec<String>,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(_, why) = event {
            myself.stop(Some(why.to_string())); // without the job there is no service
        }
        Ok(())
    }
}

/// What the handlers work with.
#[derive(Clone)]
pub struct Service {
    /// Where views go in.
    pub feed: ActorFeed<String>,
    /// The job that counts them.
    pub job: JobHandle,
    /// Who knows which pages are popular.
    pub popular: ActorRef<PopularMessage>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let (popular, over) = Actor::spawn(None, Popular, ()).await?;
    let service = start(&args, popular).await?;
    let listener = tokio::net::TcpListener::bind(args.listen).await?;
    tokio::select! {
        served = axum::serve(listener, router(service)) => Ok(served?),
        _ = over => anyhow::bail!("the job failed"),
    }
}

/// Starts the job among the service's actors.
pub async fn start(args: &Args, popular: ActorRef<PopularMessage>) -> anyhow::Result<Service> {
    let env = StreamEnvironment::builder()
        .parallelism(args.parallelism)
        .checkpoint_interval(Duration::from_millis(100))
        .build();
    let (source, feed) = ActorSource::bounded(10_000);
    let least = args.popular;
    env.from_source(source.replayed())
        .key_by_ref(|page: &String| page.as_str())
        .count()
        .uid("views")
        .filter(move |(_, views)| *views == least)
        .map(|(page, _)| page)
        .sink_to(ActorSink::new(popular.clone(), PopularMessage::Page).committed());
    let job = env.start("page views").await?;
    popular.cast(PopularMessage::Supervise(job.clone()))?;
    Ok(Service { feed, job, popular })
}

/// The service's routes.
pub fn router(service: Service) -> Router {
    Router::new()
        .route("/views", post(view))
        .route("/views/{*page}", get(views))
        .route("/popular", get(list))
        .with_state(service)
}

async fn view(State(service): State<Service>, page: String) -> StatusCode {
    let Ok(number) = service.feed.send(page).await else {
        return StatusCode::SERVICE_UNAVAILABLE;
    };
    let settled = service.feed.until_settled(number).await;
    settled.map_or(StatusCode::SERVICE_UNAVAILABLE, |()| StatusCode::ACCEPTED)
}

async fn views(State(service): State<Service>, Path(page): Path<String>) -> (StatusCode, String) {
    match service
        .job
        .query::<_, u64>("views", &format!("/{page}"))
        .await
    {
        Ok(views) => (StatusCode::OK, views.unwrap_or(0).to_string()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

async fn list(State(service): State<Service>) -> Result<String, StatusCode> {
    let pages = ractor::call!(service.popular, PopularMessage::List);
    let pages = pages.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(pages.join("\n"))
}
