//! Numbers that look random and are a pure function of a seed.

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
///
/// Made anew for each record from (seed, index), so that a replayed record is the same record.
///
/// ```
/// use rivus_connectors::SplitMix;
///
/// let (mut one, mut other) = (SplitMix::of(7, 42), SplitMix::of(7, 42));
/// assert_eq!(one.next_u64(), other.next_u64());
/// assert!(one.below(6) < 6);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitMix {
    state: u64,
}

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl SplitMix {
    /// The numbers of a record, by the source's seed and the record's index.
    pub fn of(seed: u64, index: u64) -> Self {
        Self {
            state: mix(seed.wrapping_add(GAMMA)) ^ mix(index),
        }
    }

    /// Any number.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        mix(self.state)
    }

    /// A number less than `bound`; 0 if that is 0. Its bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from 0, inclusive, to 1, exclusive.
    ///
    /// ```
    /// use rivus_connectors::SplitMix;
    ///
    /// let mut rng = SplitMix::of(7, 42);
    /// let heads = (0..1_000).filter(|_| rng.unit() < 0.5).count();
    /// assert!((400..600).contains(&heads));
    /// ```
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One of the choices; `None` if there are none.
    ///
    /// ```
    /// use rivus_connectors::SplitMix;
    ///
    /// let page = SplitMix::of(7, 42).pick(&["/", "/about"]).unwrap();
    /// assert!(page.starts_with('/'));
    /// assert_eq!(SplitMix::of(7, 42).pick::<u32>(&[]), None);
    /// ```
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(self.below(choices.len() as u64) as usize)
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_records_and_seeds_have_unrelated_numbers() {
        let mut first: Vec<u64> = (0..100)
            .flat_map(|seed| (0..100).map(move |index| SplitMix::of(seed, index).next_u64()))
            .collect();
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 10_000);
    }

    #[test]
    fn numbers_below_a_bound_reach_all_of_them() {
        let mut rng = SplitMix::of(1, 1);
        let mut seen = [0u32; 6];
        (0..6_000).for_each(|_| seen[rng.below(6) as usize] += 1);
        assert!(
            seen.iter().all(|&times| (800..1_200).contains(&times)),
            "{seen:?}"
        );
        assert_eq!(rng.below(0), 0);
        assert!((0.0..1.0).contains(&rng.unit()));
        assert_eq!(rng.pick(&[] as &[u8]), None);
    }
}
