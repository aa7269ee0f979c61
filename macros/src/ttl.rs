//! `#[state(ttl = "1h", renew = "read_and_write")]` on a field.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Error, Field, LitStr, Path, Result, Type};

/// For how long a field lives, and what renews it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FieldTtl {
    millis: i64,
    on_read: bool,
}

impl FieldTtl {
    /// What a field's attributes say.
    pub(crate) fn of(field: &Field) -> Result<Option<Self>> {
        let (mut millis, mut renew) = (None, None);
        for attribute in &field.attrs {
            if !attribute.path().is_ident("state") {
                continue;
            }
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("ttl") {
                    millis = Some(duration(&meta.value()?.parse()?)?);
                } else if meta.path.is_ident("renew") {
                    renew = Some(meta.value()?.parse::<LitStr>()?);
                } else {
                    return Err(
                        meta.error("expected `ttl = \"1h\"` or `renew = \"read_and_write\"`")
                    );
                }
                Ok(())
            })?;
        }
        let on_read = match &renew {
            None => false,
            Some(renew) => match renew.value().as_str() {
                "write" => false,
                "read_and_write" => true,
                _ => {
                    let told = "a state is renewed on \"write\" or on \"read_and_write\"";
                    return Err(Error::new(renew.span(), told));
                }
            },
        };
        match (millis, renew) {
            (Some(millis), _) => Ok(Some(Self { millis, on_read })),
            (None, None) => Ok(None),
            (None, Some(renew)) => Err(Error::new(
                renew.span(),
                "renewed for how long? add `ttl = \"1h\"`",
            )),
        }
    }

    pub(crate) fn expand(self, krate: &Path) -> TokenStream {
        let Self { millis, on_read } = self;
        quote! { #krate::Ttl { millis: #millis, on_read: #on_read } }
    }
}

/// Whether a field's type is written as one that expires.
pub(crate) fn looks_expiring(ty: &Type) -> bool {
    match ty {
        Type::Path(path) => {
            let last = path.path.segments.last();
            last.is_some_and(|last| last.ident == "Expiring" || last.ident == "ExpiringMapState")
        }
        _ => false,
    }
}

/// What a row does as time passes: nothing, unless a field expires.
#[derive(Default)]
pub(crate) struct Lifetimes {
    ttls: Vec<TokenStream>,
    expire: Vec<TokenStream>,
    stamp: Vec<TokenStream>,
    due: Vec<TokenStream>,
}

impl Lifetimes {
    pub(crate) fn add(&mut self, field: &Option<Ident>, ttl: FieldTtl, span: Span, krate: &Path) {
        let ttl = ttl.expand(krate);
        self.expire.push(quote_spanned! { span =>
            #krate::ExpiringField::expire(&mut self.#field, now, #ttl);
        });
        self.stamp.push(quote_spanned! { span =>
            #krate::ExpiringField::stamp(&mut self.#field, now, #ttl);
        });
        self.due
            .push(quote_spanned! { span => #krate::ExpiringField::due(&self.#field, #ttl) });
        self.ttls.push(ttl);
    }

    pub(crate) fn expand(&self, krate: &Path) -> TokenStream {
        let Self {
            ttls,
            expire,
            stamp,
            due,
        } = self;
        if due.is_empty() {
            return TokenStream::new();
        }
        quote! {
            const EXPIRES: bool = true;
            const LIFETIMES: &'static [#krate::Ttl] = &[#(#ttls),*];
            fn expire(&mut self, now: #krate::Timestamp) {
                #(#expire)*
            }
            fn stamp(&mut self, now: #krate::Timestamp) {
                #(#stamp)*
            }
            fn due(&self) -> ::core::option::Option<#krate::Timestamp> {
                [#(#due),*].into_iter().flatten().min()
            }
        }
    }
}

/// A duration such as "90s" or "1d 12h", in milliseconds.
fn duration(text: &LitStr) -> Result<i64> {
    millis(&text.value()).ok_or_else(|| {
        let told = format!(
            "\"{}\" is no time to live: write a number and one of ms, s, m, h, d, such as \"30m\" or \"1d 12h\"",
            text.value()
        );
        Error::new(text.span(), told)
    })
}

/// None if it can't be read, is nothing, or is longer than there is time.
fn millis(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    let mut total = 0_i64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let after = rest[digits..].trim_start();
        let letters = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let unit = match &after[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60 * 1_000,
            "h" => 60 * 60 * 1_000,
            "d" => 24 * 60 * 60 * 1_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = after[letters..].trim_start();
    }
    (total > 0).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        let table = [
            ("1ms", Some(1)),
            ("30m", Some(1_800_000)),
            ("1h", Some(3_600_000)),
            ("1d 12h", Some(129_600_000)),
            (" 2 s 5ms ", Some(2_005)),
            ("1h30m", Some(5_400_000)),
            ("", None),
            ("0s", None),
            ("5", None),
            ("h", None),
            ("-1h", None),
            ("1.5h", None),
            ("1w", None),
            ("1 hour", None),
            ("1h,", None),
            ("9223372036854775807d", None),
            ("99999999999999999999s", None),
        ];
        for (text, expected) in table {
            assert_eq!(millis(text), expected, "{text:?}");
        }
    }
}
