//! A service that knows customers' names, as services are: late, busy, or silent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

/// How often the service was asked for each customer.
pub type Asked = Arc<Mutex<BTreeMap<u32, u32>>>;

/// Starts the service.
pub async fn serve() -> std::io::Result<(SocketAddr, Asked)> {
    let asked = Asked::default();
    let routes = axum::Router::new().route("/customers/{id}", get(customer));
    let routes = routes.with_state(Arc::clone(&asked));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok((address, asked))
}

async fn customer(State(asked): State<Asked>, Path(id): Path<u32>) -> (StatusCode, String) {
    let times = {
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        *asked.entry(id).and_modify(|times| *times += 1).or_insert(1)
    };
    match id {
        13 => tokio::time::sleep(Duration::from_secs(60)).await,
        _ => tokio::time::sleep(Duration::from_millis(u64::from(id % 5))).await,
    }
    match id % 4 {
        0 if times < 3 => (StatusCode::SERVICE_UNAVAILABLE, "busy".to_owned()),
        _ => (StatusCode::OK, format!("customer {id}")),
    }
}
