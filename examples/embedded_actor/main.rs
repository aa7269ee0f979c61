//! Counts page views inside a web service: handlers feed the job and ask for its state, and the job feeds an actor
//! (`popular.rs`), which supervises it.
//!
//! ```text
//! cargo run --example embedded_actor -- --listen 127.0.0.1:3000
//! curl -d '/about' 127.0.0.1:3000/views     # 202 when a checkpoint covers it
//! curl 127.0.0.1:3000/views/about           # 1
//! curl 127.0.0.1:3000/popular               # pages with so many views or more, in the order in which they got there
//! ```

pub mod popular;

use std::error::Error;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use clap::Parser;
use popular::{Popular, PopularMessage};
use ractor::{Actor, ActorRef};
use rivus::{ActorFeed, ActorSink, ActorSource, JobHandle, RocksDbBackend, StreamEnvironment};

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
    /// Keep counts in RocksDB, in this directory, while the service runs: there may be more pages than memory holds.
    #[arg(long)]
    rocksdb: Option<PathBuf>,
}

/// What the handlers work with.
#[derive(Clone)]
pub struct Service {
    /// Where views go in.
    feed: ActorFeed<String>,
    /// The job that counts them.
    pub job: JobHandle,
    /// Who knows which pages are popular.
    popular: ActorRef<PopularMessage>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let (popular, over) = Actor::spawn(None, Popular, Vec::new()).await?;
    let service = start(&args, popular).await?;
    let job = service.job.clone();
    let listener = tokio::net::TcpListener::bind(args.listen).await?;
    tokio::select! {
        served = axum::serve(listener, router(service)) => Ok(served?),
        _ = over => Ok(job.wait().await.map(drop)?),
    }
}

/// Starts the job among the service's actors.
pub async fn start(
    args: &Args,
    popular: ActorRef<PopularMessage>,
) -> Result<Service, Box<dyn Error>> {
    let mut builder = StreamEnvironment::builder()
        .parallelism(args.parallelism)
        .checkpoint_interval(Duration::from_millis(100));
    if let Some(directory) = &args.rocksdb {
        builder = builder.state_backend(RocksDbBackend::new(directory)?);
    }
    let env = builder.build();
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
    job.link(popular.get_cell()).await?;
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

/// What a client is told when the job can't be reached.
type Unavailable = (StatusCode, String);

fn unavailable(error: impl Display) -> Unavailable {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

async fn view(State(to): State<Service>, page: String) -> Result<StatusCode, Unavailable> {
    let number = to.feed.send(page).await.map_err(unavailable)?;
    let settled = to.feed.until_settled(number).await;
    settled.map_err(unavailable)?;
    Ok(StatusCode::ACCEPTED)
}

async fn views(State(of): State<Service>, Path(page): Path<String>) -> Result<String, Unavailable> {
    let views = of.job.query::<_, u64>("views", &format!("/{page}")).await;
    Ok(views.map_err(unavailable)?.unwrap_or(0).to_string())
}

async fn list(State(of): State<Service>) -> Result<String, Unavailable> {
    let pages = ractor::call!(of.popular, PopularMessage::List).map_err(unavailable)?;
    Ok(pages.join("\n"))
}
