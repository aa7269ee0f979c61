//! When a part is closed and the next one begun.

/// When a sink closes the file it writes and goes on in a new one.
///
/// ```
/// use rivus_connectors::RollingPolicy;
///
/// let large = RollingPolicy { max_bytes: 1 << 30, on_checkpoint: false };
/// assert!(RollingPolicy::default().on_checkpoint);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollingPolicy {
    /// As soon as it holds at least this many bytes.
    pub max_bytes: u64,
    /// At each checkpoint too, so that what was written is soon seen. Otherwise a part stays open, unseen,
    /// until it is full or the input ends.
    pub on_checkpoint: bool,
}

impl Default for RollingPolicy {
    /// 128 MiB, and at each checkpoint.
    fn default() -> Self {
        Self {
            max_bytes: 128 * 1024 * 1024,
            on_checkpoint: true,
        }
    }
}
