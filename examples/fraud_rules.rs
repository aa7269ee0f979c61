//! Card payments checked against rules that change while the job runs.
//!
//! It shows broadcast state beside keyed state: every subtask holds all rules, one of them a card's payments.
//! A rule says how much a card may spend within how long, from a moment on, until another version of it holds or it is
//! withdrawn. A payment waits for a timer at its own time, which comes when both streams have got there; so it meets the
//! rules of its time, whichever stream was faster, and the answer is the same at every parallelism.
//!
//! ```text
//! cargo run --example fraud_rules -- examples/data/fraud_rules.csv --payments 2000
//! ```

#[path = "logs/payments.rs"]
mod payments;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Parser;
use jiff::Timestamp;
pub use payments::Payment;
use payments::{DELAY, LONGEST, Limit, Rule, payment, rule};
use rivus::connectors::{GeneratorSource, TextFileSource};
use rivus::{
    DataStream, Event, Keyed, KeyedBroadcastProcessFunction, MapState, Output, StreamEnvironment,
    Timer, UserError, WatermarkStrategy,
};

/// Reports cards that spend more than a rule allows.
#[derive(Parser)]
pub struct Args {
    /// The rules, lines `FROM,NAME,CENTS,WITHIN` in order of time; without CENTS and WITHIN the rule is withdrawn.
    rules: PathBuf,
    /// How many payments to make up, one a second.
    #[arg(long, default_value_t = 2_000)]
    payments: u64,
    /// Make up others.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many payments to make up in a second of the clock; as many as can be if it isn't given.
    #[arg(long)]
    rate: Option<u64>,
    /// How many subtasks every step has, but for the one that reads the rules.
    #[arg(long, default_value_t = 2)]
    parallelism: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let env = StreamEnvironment::builder()
        .parallelism(args.parallelism)
        .build();
    alerts(&env, &args).print();
    env.execute("fraud rules").await?;
    Ok(())
}

/// The payments, before they are checked.
pub fn payments(env: &StreamEnvironment, args: &Args) -> DataStream<Payment> {
    let mut source = GeneratorSource::new(payment)
        .seed(args.seed)
        .count(args.payments);
    if let Some(rate) = args.rate {
        source = source.rate(rate);
    }
    env.from_source(source)
}

/// The job: a line for each payment that takes its card over what a rule allows.
pub fn alerts(env: &StreamEnvironment, args: &Args) -> DataStream<String> {
    let rules = env
        .from_source(TextFileSource::new(&args.rules).parsed_by(rule))
        .parallelism(1)
        .assign_watermarks(WatermarkStrategy::monotonous().with_timestamps(|rule: &Rule| rule.0))
        .parallelism(1);
    let nearly_sorted = WatermarkStrategy::bounded_out_of_orderness(DELAY);
    payments(env, args)
        .assign_watermarks(nearly_sorted.with_timestamps(|payment: &Payment| payment.at))
        .key_by(|payment| payment.card)
        .connect_broadcast(&rules.broadcast())
        .process(Check)
}

#[derive(Clone)]
struct Check;

impl KeyedBroadcastProcessFunction<u64, Payment, Rule> for Check {
    type Out = String;
    /// What the card has spent, by time.
    type State = MapState<i64, u64>;
    /// Rules by their name and the time from which they hold.
    type Broadcast = MapState<(String, i64), Option<Limit>>;

    fn process(
        &mut self,
        payment: Event<Payment>,
        spent: &mut Keyed<'_, u64, Self::State>,
        _rules: &Self::Broadcast,
        _out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        *spent.entry(payment.ts).or_default() += payment.value.cents;
        spent.register_event_timer(payment.ts);
        spent.register_event_timer(payment.ts + LONGEST); // to forget it
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        rule: Event<Rule>,
        rules: &mut Self::Broadcast,
        out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        let (from, name, limit) = rule.value;
        // Of the versions that the watermark has passed, only the last is still asked for.
        let passed = |at: &(String, i64)| at.0 == name && at.1 <= out.watermark();
        let holds = rules.keys().filter(|at| passed(at)).map(|at| at.1).max();
        rules.retain(|at, _| at.0 != name || Some(at.1) >= holds);
        rules.insert((name, from), limit);
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        spent: &mut Keyed<'_, u64, Self::State>,
        rules: &Self::Broadcast,
        out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        let now = timer.ts;
        spent.retain(|at, _| now - at < LONGEST);
        if !spent.contains_key(&now) {
            return Ok(());
        }
        let begun = rules.iter().filter(|((_, from), _)| *from <= now);
        let hold: BTreeMap<&str, _> = begun.map(|((name, _), limit)| (&**name, limit)).collect();
        for (name, limit) in hold {
            let Some((cents, within)) = *limit else {
                continue;
            };
            let recent = spent
                .iter()
                .filter(|(at, _)| (now - within < **at) && **at <= now);
            let total: u64 = recent.map(|(_, cents)| cents).sum();
            if total > cents {
                let (at, card) = (Timestamp::from_millisecond(now)?, spent.key());
                out.emit(format!(
                    "{at} card {card} spent {total}: {name} allows {cents}"
                ));
            }
        }
        Ok(())
    }
}
