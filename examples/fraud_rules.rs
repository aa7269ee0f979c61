//! Card payments checked against rules that change while the job runs.
//!
//! It shows broadcast state beside keyed state: every subtask holds all rules, one of them a card's payments. A payment waits for a
//! timer at its own time, which comes when both streams have got there; so it meets the rules of its time, whichever stream was
//! faster. Rules from a file are a stream like any other, with the same answer at every parallelism. In a folder, which is watched, a
//! new file is new rules: they hold once they are read, for the payments of their time that have not been checked by then.
//!
//! ```text
//! cargo run --example fraud_rules -- examples/data/fraud_rules.csv --payments 2000
//! cargo run --example fraud_rules -- RULES --rate 100 --payments 100000 &    # RULES is a folder
//! echo '2024-03-01T11:00:00Z,large,50000,1s' > RULES/stricter.csv            # and `> RULES/_DONE` ends it
//! ```

#[path = "world/payments.rs"]
pub mod payments;
#[path = "world/rules.rs"]
mod rules;
#[path = "world/screen.rs"]
mod screen;

use clap::Parser;
use payments::{DELAY, Payment, Payments, text};
use rivus::{
    DataStream, Event, JobError, Keyed, KeyedBroadcastProcessFunction, MapState, Output, RunArgs,
    StreamEnvironment, Timer, UserError, WatermarkStrategy,
};
use rules::{LONGEST, Limit, Rule, Rules};

/// Reports cards that spend more than a rule allows within its time, until another version of the rule holds.
#[derive(Parser)]
pub struct Args {
    #[command(flatten)]
    rules: Rules,
    #[command(flatten)]
    pub(crate) payments: Payments,
    #[command(flatten)]
    run: RunArgs,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), JobError> {
    let args = Args::parse();
    let env = args.run.environment().build();
    alerts(&env, &args).print();
    screen::unless_closed(args.run.execute(&env, "fraud rules").await)
}

/// The job: a line for each payment that takes its card over what a rule allows.
pub fn alerts(env: &StreamEnvironment, args: &Args) -> DataStream<String> {
    let nearly_sorted = WatermarkStrategy::bounded_out_of_orderness(DELAY);
    env.from_source(args.payments.source())
        .assign_watermarks(nearly_sorted.with_timestamps(|payment: &Payment| payment.at))
        .key_by(|payment| payment.card)
        .connect_broadcast(&args.rules.stream(env).broadcast())
        .process(Check)
}

#[derive(Clone)]
struct Check;

impl KeyedBroadcastProcessFunction<u64, Payment, Rule> for Check {
    type Out = String;
    /// What the card has spent, by time.
    type State = MapState<i64, u64>;
    /// Each rule's versions by the time from which they hold.
    type Broadcast = MapState<String, MapState<i64, Option<Limit>>>;

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
        let versions = rules.entry(name).or_default();
        let holds = versions.range(..=out.watermark()).next_back();
        let holds = holds.map_or(i64::MIN, |(holds, _)| *holds);
        versions.retain(|from, _| *from >= holds);
        versions.insert(from, limit);
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
        for (name, versions) in rules.iter() {
            let Some((_, Some((max, within)))) = versions.range(..=now).next_back() else {
                continue; // it doesn't hold yet, or is withdrawn
            };
            let sum: u64 = spent.range(now - within + 1..=now).map(|paid| paid.1).sum();
            if sum > *max && spent.contains_key(&now) {
                let (at, card) = (text(now)?, spent.key());
                out.emit(format!("{at} card {card} spent {sum}: {name} allows {max}"));
            }
        }
        Ok(())
    }
}
