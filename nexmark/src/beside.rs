//! `nexmark beside`: queries beside loops that are written by hand.

use std::hint::black_box;

use rivus_nexmark::{Generator, NexmarkConfig, Query, loops};

use crate::process::Reading;
use crate::published;
use crate::run::{Measured, Setting};
use crate::table::in_its_own_process;

/// The engine is to do at least so much of what the loop does, per CPU-second.
const BAR: f64 = 0.5;

/// What is held beside its loop, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these of q0, q1, q2, q5, q8 and q11
    #[arg(long, value_delimiter = ',')]
    queries: Vec<Query>,
    /// Turns of each, of which the best counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    #[command(flatten)]
    setting: Setting,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    args.setting.check()?;
    let all = || Query::all().filter(|query| by_hand(*query).is_some());
    let queries: Vec<Query> = match args.queries.as_slice() {
        [] => all().collect(),
        some => some.to_vec(),
    };
    let mut pairs = Vec::new();
    for query in queries {
        let Some(by_hand) = by_hand(query) else {
            let with: Vec<String> = all().map(|query| query.to_string()).collect();
            anyhow::bail!(
                "{query} has no loop beside it: take some of {}",
                with.join(", ")
            );
        };
        pairs.push((query, by_hand));
    }
    println!(
        "{:>5} {:>16} {:>18} {:>6}",
        "query", "loop 1,000/CPU-s", "engine 1,000/CPU-s", "share"
    );
    let mut missed = Vec::new();
    for (query, by_hand) in pairs {
        let (mut alone, mut engine) = (0.0_f64, 0.0_f64);
        for _ in 0..args.rounds {
            alone = alone.max(in_a_loop(query, by_hand, &args.setting)?);
            let Measured {
                events_per_cpu_second,
                ..
            } = in_its_own_process(query, &args.setting)?;
            engine = engine.max(events_per_cpu_second);
        }
        let share = engine / alone;
        println!(
            "{:>5} {:>16.0} {:>18.0} {:>5.0}%",
            query.to_string(),
            alone / 1e3,
            engine / 1e3,
            share * 100.0
        );
        if share < BAR {
            missed.push(query.to_string());
        }
    }
    anyhow::ensure!(
        missed.is_empty(),
        "less than {} % of what the loop does: {}",
        BAR * 100.0,
        missed.join(", ")
    );
    Ok(())
}

type ByHand = fn(&Generator);

fn by_hand(query: Query) -> Option<ByHand> {
    /// All events, and whoever asks for none of what comes out.
    macro_rules! of {
        ($query:ident) => {
            |generator| loops::$query(generator.events(), |told| _ = black_box(told))
        };
    }
    Some(match query.number() {
        0 => of!(q0),
        1 => of!(q1),
        2 => of!(q2),
        5 => of!(q5),
        8 => of!(q8),
        11 => of!(q11),
        _ => return None,
    })
}

/// Events per CPU-second.
fn in_a_loop(query: Query, by_hand: ByHand, setting: &Setting) -> anyhow::Result<f64> {
    let events = setting.events.unwrap_or_else(|| published::events(query));
    let generator = Generator::new(NexmarkConfig {
        events,
        events_per_second: setting.rate,
        seed: setting.seed,
    });
    let before = Reading::take()?;
    by_hand(&generator);
    let (_, cpu) = before.used()?;
    Ok(events as f64 / cpu.as_secs_f64())
}
