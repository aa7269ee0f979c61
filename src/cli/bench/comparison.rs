//! Loop and engine by turns, and what that says.

use super::meter::Used;

/// What is said of a bar.
pub(super) fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}

/// Records and what they took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) records: u64,
    pub(crate) used: Used,
}

impl Pace {
    /// Million records a CPU-second.
    pub(crate) fn per_cpu(self) -> f64 {
        self.records as f64 / self.used.cpu.as_secs_f64().max(1e-9) / 1e6
    }

    /// Million records a second.
    pub(crate) fn per_second(self) -> f64 {
        self.records as f64 / self.used.wall.as_secs_f64().max(1e-9) / 1e6
    }
}

/// The paces of several contestants in several rounds.
pub(crate) struct Comparison {
    names: Vec<&'static str>,
    rounds: Vec<Vec<Pace>>,
}

impl Comparison {
    /// The first contestant is the one that the others are compared with.
    pub(crate) fn new(names: &[&'static str]) -> Self {
        println!(
            "  {:>8}  {}",
            "",
            names
                .iter()
                .map(|name| format!("{name:>24}"))
                .collect::<String>()
        );
        Self {
            names: names.to_vec(),
            rounds: Vec::new(),
        }
    }

    /// Adds a round and prints it.
    pub(crate) fn add(&mut self, round: Vec<Pace>) {
        let columns: String = round
            .iter()
            .map(|pace| {
                let text = format!("{:.2} | {:.2}", pace.per_second(), pace.per_cpu());
                format!("{text:>24}")
            })
            .collect();
        println!(
            "  {:>8}  {columns}",
            format!("round {}", self.rounds.len() + 1)
        );
        self.rounds.push(round);
    }

    /// Prints the median ratio of each contestant to the first, and the last one's beside a bar.
    pub(crate) fn conclude(&self, bar: f64) {
        println!("  million records a second | a CPU-second");
        for contestant in 1..self.names.len() {
            let mut ratios: Vec<f64> = self
                .rounds
                .iter()
                .map(|round| round[contestant].per_cpu() / round[0].per_cpu())
                .collect();
            ratios.sort_by(f64::total_cmp);
            let (Some(least), Some(most)) = (ratios.first(), ratios.last()) else {
                continue;
            };
            let median = ratios[ratios.len() / 2];
            print!(
                "  {} / {}, per CPU-second, median of {}: {:.1} % ({:.1} to {:.1})",
                self.names[contestant],
                self.names[0],
                ratios.len(),
                median * 100.0,
                least * 100.0,
                most * 100.0
            );
            if contestant + 1 == self.names.len() {
                let verdict = if median >= bar { "met" } else { "missed" };
                print!("; bar {:.0} %: {verdict}", bar * 100.0);
            }
            println!();
        }
    }
}
