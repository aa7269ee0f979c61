//! What a state's type looks like, written beside it: MessagePack arrays hold no names.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_reflection::{Tracer, TracerConfig};

/// Names and types of a state's fields, as serde sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The Rust type that was stored, for people.
    pub type_name: String,
    /// Format of the whole and of every named type in it; empty where serde can't tell.
    pub formats: Vec<(String, String)>,
}

impl Schema {
    /// The schema of a type.
    ///
    /// ```
    /// use rivus_core::Schema;
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Visit { page: String, times: u32 }
    ///
    /// let schema = Schema::of::<Visit>();
    /// assert!(format!("{:?}", schema.formats).contains("times"));
    /// ```
    pub fn of<T: DeserializeOwned>() -> Self {
        let mut tracer = Tracer::new(TracerConfig::default());
        let root = tracer.trace_simple_type::<T>();
        let formats = match (root, tracer.registry()) {
            (Ok((root, _)), Ok(registry)) => std::iter::once((String::new(), format!("{root:?}")))
                .chain(
                    registry
                        .into_iter()
                        .map(|(name, format)| (name.to_string(), format!("{format:?}"))),
                )
                .collect(),
            _ => Vec::new(),
        };
        Self {
            type_name: std::any::type_name::<T>().to_owned(),
            formats,
        }
    }

    /// Whether bytes written as `self` can be read as `other`. Unknown formats are given the chance.
    pub fn reads_as(&self, other: &Self) -> bool {
        self.formats.is_empty() || other.formats.is_empty() || self.formats == other.formats
    }
}
