//! Who is refused is told, and not more often than it can be read: a peer that is set up wrong tries again several times a
//! second, and a stranger's attempts must not fill a disk.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// The same refusal of the same machine is told again after this.
const AGAIN: Duration = Duration::from_secs(60);

/// Refusals that are remembered; beyond these the one that was told first is forgotten.
const MOST: usize = 256;

/// What was told of one machine's refusals for one reason.
#[derive(Debug)]
struct Told {
    at: Duration,
    /// Refusals since then that were not.
    kept: u64,
}

/// Refusals that were told lately.
#[derive(Debug, Default)]
pub(crate) struct Refusals(BTreeMap<(IpAddr, String), Told>);

impl Refusals {
    /// Whether this one is to be told, and if so, how many of its kind were not since the last one.
    pub(crate) fn tell(&mut self, machine: IpAddr, reason: &str, now: Duration) -> Option<u64> {
        // Numbers are the peer's choice: whoever sends another one each time is refused for the same reason all the same.
        let kind = reason.replace(|c: char| c.is_ascii_digit(), "");
        let key = (machine, kind);
        let kept = match self.0.get_mut(&key) {
            Some(told) if now.saturating_sub(told.at) < AGAIN => {
                told.kept += 1;
                return None;
            }
            Some(told) => told.kept,
            None => 0,
        };
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            let first = self.0.iter().min_by_key(|(_, told)| told.at);
            if let Some(first) = first.map(|(key, _)| key.clone()) {
                self.0.remove(&first);
            }
        }
        self.0.insert(key, Told { at: now, kept: 0 });
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_once_a_minute_with_how_many_there_were() {
        let mut refusals = Refusals::default();
        let [ann, bob] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        let mut tell =
            |machine, reason, seconds| refusals.tell(machine, reason, Duration::from_secs(seconds));
        assert_eq!(tell(ann, "no", 0), Some(0));
        assert_eq!(tell(ann, "no", 1), None);
        assert_eq!(tell(ann, "a frame of 7 bytes", 2), Some(0));
        assert_eq!(tell(ann, "a frame of 1000 bytes", 2), None);
        assert_eq!(tell(bob, "no", 3), Some(0));
        assert_eq!(tell(ann, "no", 59), None);
        assert_eq!(tell(ann, "no", 60), Some(2));
        assert_eq!(tell(ann, "no", 61), None);
    }

    #[test]
    fn however_many_there_are_only_so_many_are_remembered() {
        let mut refusals = Refusals::default();
        for n in 0..10_000_u32 {
            let machine = IpAddr::from(n.to_be_bytes());
            let told = refusals.tell(machine, "no", Duration::from_millis(n.into()));
            assert_eq!(told, Some(0));
        }
        assert_eq!(refusals.0.len(), MOST);
        let last = IpAddr::from(9_999_u32.to_be_bytes());
        assert_eq!(refusals.tell(last, "no", Duration::from_secs(11)), None);
    }
}
