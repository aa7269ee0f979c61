//! Made-up card payments.

use std::time::Duration;

use jiff::Timestamp;
use rivus::connectors::{GeneratorSource, SplitMix};
use serde::{Deserialize, Serialize};

/// The first payment is made at 12:00 on 1 March 2024.
const NOON: i64 = 1_709_294_400_000;
/// How late a payment may come.
pub const DELAY: Duration = Duration::from_secs(5);

/// A payment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Payment {
    /// Milliseconds since the epoch.
    pub at: i64,
    /// Whose.
    pub card: u64,
    /// How much.
    pub cents: u64,
}

/// Which payments to make up.
#[derive(Debug, Clone, clap::Args)]
pub struct Payments {
    /// How many payments to make up, one a second.
    #[arg(long, default_value_t = 2_000)]
    payments: u64,
    /// Make up others.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many payments to make up in a second of the clock.
    #[arg(long, default_value_t = 1_000_000)]
    rate: u64,
}

impl Payments {
    /// A source of them.
    pub fn source(&self) -> GeneratorSource<Payment> {
        GeneratorSource::new(payment)
            .seed(self.seed)
            .count(self.payments)
            .rate(self.rate)
    }
}

/// Payments in nearly their order, one a second; one in fifty is a large one.
fn payment(n: u64, random: &mut SplitMix) -> Payment {
    let delay = random.below(DELAY.as_millis() as u64);
    Payment {
        at: NOON + 1_000 * n as i64 - delay as i64,
        card: random.below(20),
        cents: random.below(10_000) * if random.below(50) == 0 { 20 } else { 1 },
    }
}

/// A time, in words.
pub fn text(ms: i64) -> Result<String, jiff::Error> {
    Ok(Timestamp::from_millisecond(ms)?.to_string())
}
