//! Orders that get their customers' names from a service, many requests at a time.
//!
//! The service is made up (`world/customers.rs`): it answers after a while, says every so often that it is busy, and takes much
//! too long for some. So some requests are tried again, and some orders go on without a name. A customer who was found once isn't asked
//! for again.
//!
//! ```text
//! cargo run --example enrich_async -- --orders 50 --ordered
//! ```

#[path = "world/customers.rs"]
pub mod customers;
#[path = "world/screen.rs"]
mod screen;

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Parser;
use rivus::connectors::GeneratorSource;
use rivus::{AsyncFunction, AsyncRequests, DataStream, Retry, StreamEnvironment, UserError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Enriches orders by requests.
#[derive(Parser)]
pub struct Args {
    /// How many orders to make up.
    #[arg(long, default_value_t = 50)]
    pub orders: u64,
    /// Keep the order of the orders; otherwise each goes on as soon as its answer is there.
    #[arg(long)]
    ordered: bool,
    /// Requests under way at a time, in each subtask.
    #[arg(long, default_value_t = 8)]
    capacity: usize,
    /// How long an answer may take, tries included, in milliseconds.
    #[arg(long, default_value_t = 500)]
    timeout: u64,
}

/// An order: its number, its customer, and the customer's name if it was found.
pub type Order = (u64, u32, Option<String>);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let (service, _) = customers::serve().await?;
    let env = StreamEnvironment::default();
    let named = enriched(&env, &args, service);
    named
        .map(|(order, customer, name)| format!("order {order} of {customer}: {name:?}"))
        .print();
    screen::unless_closed(env.execute("enrich").await)?;
    Ok(())
}

/// The job.
pub fn enriched(env: &StreamEnvironment, args: &Args, service: SocketAddr) -> DataStream<Order> {
    let orders = GeneratorSource::new(|n, random| (n, random.below(20) as u32));
    let timeout = Duration::from_millis(args.timeout);
    let requests = match args.ordered {
        true => AsyncRequests::ordered(timeout),
        false => AsyncRequests::unordered(timeout),
    };
    let busy = Retry::backoff(4, Duration::from_millis(5), Duration::from_millis(40));
    let requests = requests.capacity(args.capacity).retry(busy);
    let known = Arc::default();
    env.from_source(orders.seed(1).count(args.orders))
        .async_process(Names { service, known }, requests)
}

#[derive(Clone)]
struct Names {
    service: SocketAddr,
    /// Shared by all clones. It isn't state: after a failure the service is asked again.
    known: Arc<Mutex<BTreeMap<u32, String>>>,
}

impl AsyncFunction<(u64, u32)> for Names {
    type Out = Order;

    async fn call(&self, (order, customer): (u64, u32)) -> Result<Vec<Order>, UserError> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known().get(&customer).cloned();
        let name = match found {
            Some(name) => name,
            None => http_get(self.service, &format!("/customers/{customer}")).await?,
        };
        known().insert(customer, name.clone());
        Ok(vec![(order, customer, Some(name))])
    }

    fn on_timeout(
        &self,
        (order, customer): (u64, u32),
        _: Duration,
    ) -> Result<Vec<Order>, UserError> {
        Ok(vec![(order, customer, None)])
    }
}

async fn http_get(service: SocketAddr, path: &str) -> Result<String, UserError> {
    let mut stream = TcpStream::connect(service).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {service}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(format!("{path}: {}", answer.lines().next().unwrap_or("no answer")).into()),
    }
}
