//! Requests: what an operator asks of a database or a service, many at a time.

mod function;
mod operator;
mod queue;
mod request;
mod requests;

pub use function::{AsyncFunction, AsyncMap};
pub use operator::AsyncOperator;
pub use requests::{AsyncRequests, Retry};
