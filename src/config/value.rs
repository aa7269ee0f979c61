//! Values, as people write them.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use rivus_core::job::CheckpointMode;

/// How values are written in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Switch,
}

impl Kind {
    pub(super) fn written(self) -> &'static str {
        match self {
            Self::Text => "in quotes",
            Self::Number | Self::Switch => "without quotes",
        }
    }
}

/// A type of values.
pub(crate) trait Value: Sized {
    /// What they look like, for people.
    const EXPECTS: &'static str;

    /// How they are written in the file.
    const KIND: Kind = Kind::Text;

    /// Reads one; none if it isn't one.
    fn read(text: &str) -> Option<Self>;

    /// In its usual form.
    fn show(&self) -> String;
}

/// What is said of a setting that has no value. It can be written, too.
const NONE: &str = "none";

impl<T: Value> Value for Option<T> {
    const EXPECTS: &'static str = T::EXPECTS;
    const KIND: Kind = T::KIND;

    fn read(text: &str) -> Option<Self> {
        match text {
            "" | NONE => Some(None),
            text => T::read(text).map(Some),
        }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| NONE.to_owned(), T::show)
    }
}

impl Value for String {
    const EXPECTS: &'static str = "text";

    fn read(text: &str) -> Option<Self> {
        let is_line = !text.is_empty() && !text.contains(char::is_control);
        is_line.then(|| text.to_owned())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Value for PathBuf {
    const EXPECTS: &'static str = "a path";

    fn read(text: &str) -> Option<Self> {
        String::read(text).map(PathBuf::from)
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Value for Duration {
    const EXPECTS: &'static str = "a duration such as 10s or 500ms";

    fn read(text: &str) -> Option<Self> {
        // Zero is one, if a bare one.
        humantime::parse_duration(text).ok()
    }

    fn show(&self) -> String {
        humantime::format_duration(*self).to_string()
    }
}

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) usize);

/// Units of sizes, the larger ones first.
const UNITS: [(&str, usize); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

impl Value for Size {
    const EXPECTS: &'static str = "a size such as 64MiB or 512KiB";

    fn read(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(digits);
        let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
        let number: usize = number.parse().ok()?;
        number.checked_mul(*bytes).map(Self)
    }

    fn show(&self) -> String {
        let fits = |(_, bytes): &&(&str, usize)| self.0.is_multiple_of(*bytes) && self.0 > 0;
        let (unit, bytes) = UNITS.iter().find(fits).unwrap_or(&("B", 1));
        format!("{}{unit}", self.0 / bytes)
    }
}

impl Value for SocketAddr {
    const EXPECTS: &'static str = "an address such as 127.0.0.1:7878";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Addresses, the first one before the others. Where somebody listens it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addresses(pub(crate) Vec<SocketAddr>);

impl Addresses {
    /// The only one.
    ///
    /// # Errors
    /// One line, if there are several.
    pub(crate) fn only(&self) -> Result<SocketAddr, String> {
        match self.0[..] {
            [only] => Ok(only),
            _ => Err("a process listens at one address: several are for commands, give one".into()),
        }
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(SocketAddr::to_string).collect();
        f.write_str(&all.join(","))
    }
}

impl Value for Addresses {
    const EXPECTS: &'static str = SocketAddr::EXPECTS;

    fn read(text: &str) -> Option<Self> {
        let all = text
            .split(',')
            .map(|address| SocketAddr::read(address.trim()));
        all.collect::<Option<Vec<_>>>().map(Self)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Where others reach something, by an address or a name: `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPort(pub(crate) String);

impl HostPort {
    pub(crate) fn host(&self) -> &str {
        self.0.rsplit_once(':').map_or("", |(host, _)| host)
    }
}

impl Value for HostPort {
    const EXPECTS: &'static str = "HOST:PORT, such as rivus-1.example:7900";

    fn read(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        // An address with colons has brackets around it.
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let is_host = match bare {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => {
                let is_odd = |c: char| c.is_whitespace() || c.is_control() || "/:[]".contains(c);
                !host.is_empty() && !host.contains(is_odd)
            }
        };
        (is_host && is_port).then(|| Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

impl Value for bool {
    const EXPECTS: &'static str = "true or false";
    const KIND: Kind = Kind::Switch;

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! numbers {
    ($($number:ty: $expects:literal),+) => {$(
        impl Value for $number {
            const EXPECTS: &'static str = $expects;
            const KIND: Kind = Kind::Number;

            fn read(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

numbers! {
    usize: "a whole number",
    u32: "a whole number",
    NonZeroU32: "a whole number above 0",
    NonZeroUsize: "a whole number above 0"
}

impl Value for CheckpointMode {
    const EXPECTS: &'static str = "exactly_once or at_least_once";

    fn read(text: &str) -> Option<Self> {
        match text {
            "exactly_once" => Some(Self::ExactlyOnce),
            "at_least_once" => Some(Self::AtLeastOnce),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::ExactlyOnce => "exactly_once",
            Self::AtLeastOnce => "at_least_once",
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text, and how it is printed again.
    fn check<T: Value>(table: &[(&str, Option<&str>)]) {
        for (text, expected) in table {
            let shown = T::read(text).map(|value| value.show());
            assert_eq!(shown.as_deref(), *expected, "{text:?}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_has_a_port() {
        for there in ["rivus-1.example:7900", "10.0.0.1:1", "[::1]:7900"] {
            let read = HostPort::read(there);
            assert_eq!(read.map(|place| place.show()).as_deref(), Some(there));
        }
        for not in [
            "nohost",
            ":7",
            "a:0",
            "a:70000",
            "[]:1",
            "[foo]:1",
            "::1:7",
            "a b:1",
            "http://a:1",
        ] {
            assert_eq!(HostPort::read(not), None, "{not}");
        }
    }

    #[test]
    fn durations_and_sizes_are_written_the_human_way() {
        check::<Duration>(&[
            ("10s", Some("10s")),
            ("1m 30s", Some("1m 30s")),
            ("1500ms", Some("1s 500ms")),
            ("0s", Some("0s")),
            ("10", None),
            ("soon", None),
        ]);
        check::<Size>(&[
            ("64MiB", Some("64MiB")),
            ("64 MiB", Some("64MiB")),
            ("2048KiB", Some("2MiB")),
            ("3GB", Some("3GB")),
            ("1000B", Some("1kB")),
            ("7B", Some("7B")),
            ("0B", Some("0B")),
            ("64", None),
            ("64mb", None),
            ("MiB", None),
            ("1.5GiB", None),
            ("99999999999999999999B", None),
            ("18446744073709551615GiB", None),
        ]);
    }

    #[test]
    fn other_values_are_what_they_are() {
        check::<Option<String>>(&[
            ("", Some("none")),
            ("none", Some("none")),
            ("left", Some("left")),
            ("two\nlines", None),
        ]);
        check::<NonZeroU32>(&[("8", Some("8")), ("0", None), ("-1", None), ("8.0", None)]);
        check::<SocketAddr>(&[
            ("127.0.0.1:0", Some("127.0.0.1:0")),
            ("[::1]:80", Some("[::1]:80")),
            ("localhost:80", None),
            ("127.0.0.1", None),
        ]);
        check::<Addresses>(&[
            ("127.0.0.1:1", Some("127.0.0.1:1")),
            ("127.0.0.1:1, [::1]:2", Some("127.0.0.1:1,[::1]:2")),
            ("127.0.0.1:1,", None),
            ("", None),
        ]);
        check::<bool>(&[("true", Some("true")), ("yes", None)]);
        check::<CheckpointMode>(&[
            ("at_least_once", Some("at_least_once")),
            ("exactly_once", Some("exactly_once")),
            ("AtLeastOnce", None),
        ]);
    }
}
