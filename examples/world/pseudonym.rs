//! Names for people and addresses that stay the same, and that nobody can undo without the key.

use std::net::IpAddr;

use serde_json::Value;

/// SipHash-2-4, a keyed hash (Aumasson, Bernstein: SipHash: a fast short-input PRF, 2012).
pub fn siphash(key: [u64; 2], bytes: &[u8]) -> u64 {
    let [k0, k1] = key;
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let mut whole = bytes.chunks_exact(8);
    for chunk in &mut whole {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        absorb(&mut v, u64::from_le_bytes(word));
    }
    let mut last = [0; 8];
    last[..whole.remainder().len()].copy_from_slice(whole.remainder());
    last[7] = bytes.len() as u8;
    absorb(&mut v, u64::from_le_bytes(last));
    v[2] ^= 0xff;
    (0..4).for_each(|_| round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn absorb(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    (0..2).for_each(|_| round(v));
    v[0] ^= word;
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

/// What is masked, and by which key.
#[derive(Debug, Clone)]
pub struct Masks {
    /// 128 bits that are kept secret.
    pub key: [u64; 2],
    /// Fields whose whole value names somebody.
    pub names: Vec<String>,
}

impl Masks {
    fn pseudonym(&self, kind: &str, value: &str) -> String {
        format!(
            "{kind}-{:016x}",
            siphash(self.key, value.to_lowercase().as_bytes())
        )
    }

    /// Masks a value and all that is in it; `field` is its name.
    pub fn mask(&self, field: &str, value: &mut Value) {
        match value {
            Value::String(text) if self.names.iter().any(|name| name == field) => {
                *text = self.pseudonym("name", text);
            }
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask(field, item)),
            Value::Object(fields) => {
                for (field, value) in fields {
                    self.mask(field, value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Masks the addresses in a text: of mail as whole words, of machines wherever they stand.
    pub fn text(&self, text: &str) -> String {
        let separates = |letter: char| letter.is_whitespace() || "\"'()<>[]{},;=|".contains(letter);
        let parts = text.split_inclusive(separates);
        parts
            .map(|part| {
                let word = part.trim_end_matches(separates);
                let bare = word.trim_end_matches(['.', ':', '!', '?']);
                format!("{}{}", self.word(bare), &part[bare.len()..])
            })
            .collect()
    }

    fn word(&self, word: &str) -> String {
        match word.rsplit_once('@') {
            Some((local, domain)) if !local.is_empty() && !domain.is_empty() => {
                self.pseudonym("mail", word.trim_start_matches("mailto:"))
            }
            _ => self.ips(word),
        }
    }

    /// Masks the longest address that begins at each place, whatever stands around it. So a text may lose more than its
    /// addresses (`a::b` is one), but none stays.
    fn ips(&self, word: &str) -> String {
        let mut masked = String::new();
        let mut rest = word;
        while let Some(letter) = rest.chars().next() {
            let (shown, passed) = match leading_ip(rest) {
                Some((ip, len)) => (self.pseudonym("ip", &ip.to_string()), len),
                None => (letter.to_string(), letter.len_utf8()),
            };
            masked += &shown;
            rest = &rest[passed..];
        }
        masked
    }
}

/// The longest address that a text begins with, and its length.
fn leading_ip(text: &str) -> Option<(IpAddr, usize)> {
    /// `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`
    const LONGEST: usize = 45;
    let may_be = |letter: u8| letter.is_ascii_hexdigit() || letter == b':' || letter == b'.';
    let bytes = text.bytes().take(LONGEST);
    let run = &text[..bytes.take_while(|letter| may_be(*letter)).count()];
    let ip = |len: usize| Some((run[..len].parse::<IpAddr>().ok()?.to_canonical(), len));
    // Nobody is at `::`, the only one of two letters.
    (3..=run.len()).rev().find_map(ip)
}
