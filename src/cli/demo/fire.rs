//! Watches the job and kills its actors.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;
use rivus::connectors::SplitMix;
use rivus::engine::ActorKind;
use rivus::{JobHandle, JobStatus, JobView};
use tokio::time::Instant;

use super::job::Plan;
use super::latency::Latency;
use super::screen::Screen;
use super::victims::Victims;

/// How often the line on the screen is drawn.
const TICK: Duration = Duration::from_millis(100);

/// A run that has come to its end.
pub(super) struct Run {
    pub view: JobView,
    /// How many of each kind were killed.
    pub kills: BTreeMap<String, u32>,
}

/// Kills until the job is over: every three seconds, or nine times where that would be fewer, as it would by default. The first of
/// those after each of the first two thirds of the nominal time is the leader; the others are somebody at random.
pub(super) async fn watch(
    handle: &JobHandle,
    plan: Plan,
    victims: &Victims,
    latency: &Latency,
    screen: &Screen,
) -> anyhow::Result<Run> {
    let nominal = Duration::from_secs(plan.seconds);
    let pause = (nominal / 9).min(Duration::from_secs(3));
    let mut leader_deaths = [nominal / 3, nominal * 2 / 3].into_iter().peekable();
    let mut rng = SplitMix::of(plan.seed, u64::MAX);
    let mut kills = BTreeMap::new();
    let began = Instant::now();
    let mut next = pause;
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        let elapsed = began.elapsed();
        let view = handle.view();
        if let JobStatus::Ended(_) = view.status {
            let view = handle.clone().wait().await?.view;
            return Ok(Run { view, kills });
        }
        if elapsed > nominal * 10 + Duration::from_secs(60) {
            bail!(
                "the job has not ended after {elapsed:.0?}; it is {}",
                view.status
            );
        }
        screen.show(&view, latency, kills.values().sum());
        if elapsed < next {
            continue;
        }
        next = elapsed + pause;
        let killed = if leader_deaths.next_if(|at| *at <= elapsed).is_some() {
            handle.kill_leader();
            Some((ActorKind::JobManager, "the leader".to_owned()))
        } else {
            victims.kill_one(&mut rng)
        };
        if let Some((kind, label)) = killed {
            screen.say(&format!(
                "{:>5.1} s  killed {kind:?} {label}",
                elapsed.as_secs_f64()
            ));
            *kills.entry(format!("{kind:?}")).or_insert(0) += 1;
        }
    }
}
