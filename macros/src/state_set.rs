//! `#[derive(StateSet)]`: a row is empty when each of its states is, states expire each by itself, and a snapshot's copy of a row is
//! made of its states' copies.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Field, Fields, LitStr, Path, Result, parse_quote};

use crate::ttl::{self, FieldTtl, Lifetimes};

/// The implementation for a struct with named fields; an error that says why for anything else.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let krate = crate_path(input)?;
    let Data::Struct(data) = &input.data else {
        return Err(refused(input));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(refused(input));
    };
    let mut parts = Parts::default();
    for field in &fields.named {
        parts.add(field, &krate)?;
    }
    let Parts {
        empty,
        shares,
        share,
        read_ahead,
        heap_bytes,
        lifetime,
    } = parts;
    let lifetime = lifetime.expand(&krate);
    let name = &input.ident;
    let (params, args, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #params #krate::StateSet for #name #args #bounds {
            const SHARES: bool = false #(|| #shares)*;
            fn is_empty(&self) -> bool {
                true #(&& #empty)*
            }
            fn share(&mut self) -> Self {
                Self { #(#share),* }
            }
            fn read_ahead(&self) {
                #(#read_ahead;)*
            }
            fn heap_bytes(&self) -> usize {
                0 #(+ #heap_bytes)*
            }
            #lifetime
        }
    })
}

/// What the fields say, one expression for each.
#[derive(Default)]
struct Parts {
    empty: Vec<TokenStream>,
    shares: Vec<TokenStream>,
    share: Vec<TokenStream>,
    read_ahead: Vec<TokenStream>,
    heap_bytes: Vec<TokenStream>,
    lifetime: Lifetimes,
}

impl Parts {
    fn add(&mut self, field: &Field, krate: &Path) -> Result<()> {
        let (name, ty) = (&field.ident, &field.ty);
        // Makes the compiler point at the field's type.
        let span = Span::call_site().located_at(field.ty.span());
        let Some(ttl) = FieldTtl::of(field)? else {
            if ttl::looks_expiring(&field.ty) {
                return Err(Error::new(
                    span,
                    "for how long? say it on the field: #[state(ttl = \"1h\")]",
                ));
            }
            let empty = quote_spanned! { span => #krate::StateField::is_empty(&self.#name) };
            self.empty.push(empty);
            self.shares
                .push(quote_spanned! { span => <#ty as #krate::StateField>::SHARES });
            self.share
                .push(quote_spanned! { span => #name: #krate::StateField::share(&mut self.#name) });
            self.read_ahead
                .push(quote_spanned! { span => #krate::StateField::read_ahead(&self.#name) });
            self.heap_bytes
                .push(quote_spanned! { span => #krate::StateField::heap_bytes(&self.#name) });
            return Ok(());
        };
        let empty = quote_spanned! { span => #krate::ExpiringField::is_vacant(&self.#name) };
        self.empty.push(empty);
        self.shares
            .push(quote_spanned! { span => <#ty as #krate::ExpiringField>::SHARES });
        let lives = ttl.expand(krate);
        self.share.push(
            quote_spanned! { span => #name: #krate::ExpiringField::share(&mut self.#name, #lives) },
        );
        self.read_ahead
            .push(quote_spanned! { span => #krate::ExpiringField::read_ahead(&self.#name) });
        self.heap_bytes
            .push(quote_spanned! { span => #krate::ExpiringField::heap_bytes(&self.#name) });
        self.lifetime.add(name, ttl, span, krate);
        Ok(())
    }
}

fn refused(input: &DeriveInput) -> Error {
    Error::new_spanned(
        &input.ident,
        "StateSet can only be derived for a struct with named fields, such as \
         `struct Visits { last: ValueState<i64>, pages: ListState<String> }`",
    )
}

fn crate_path(input: &DeriveInput) -> Result<Path> {
    let mut path: Path = parse_quote!(::rivus);
    for attribute in &input.attrs {
        if !attribute.path().is_ident("state") {
            continue;
        }
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("expected `crate = \"..\"`"));
            }
            let name: LitStr = meta.value()?.parse()?;
            path = name.parse()?;
            Ok(())
        })?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a struct expands to, or the error.
    fn expanded(code: &str) -> String {
        match expand(&syn::parse_str(code).unwrap()) {
            Ok(tokens) => tokens.to_string(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn every_field_is_asked_whether_it_is_empty() {
        let code = expanded("struct Row { a: ValueState<u8>, b: ListState<u8> }");
        assert!(code.contains(":: rivus :: StateSet for Row"), "{code}");
        for field in ["a", "b"] {
            let asked = format!(":: rivus :: StateField :: is_empty (& self . {field})");
            assert!(code.contains(&asked), "{code}");
        }
    }

    #[test]
    fn a_copy_for_a_snapshot_is_made_field_by_field() {
        let code = expanded(
            "struct Row { a: ValueState<u8>, #[state(ttl = \"5ms\")] b: Expiring<ListState<u8>> }",
        );
        for part in [
            "a : :: rivus :: StateField :: share (& mut self . a)",
            "b : :: rivus :: ExpiringField :: share (& mut self . b , :: rivus :: Ttl { millis : 5i64",
            "false || < ValueState < u8 > as :: rivus :: StateField > :: SHARES || <",
        ] {
            assert!(code.contains(part), "{code}");
        }
    }

    #[test]
    fn a_row_takes_what_its_fields_take() {
        let code = expanded(
            "struct Row { a: ValueState<u8>, #[state(ttl = \"5ms\")] b: Expiring<ListState<u8>> }",
        );
        let sum = "0 + :: rivus :: StateField :: heap_bytes (& self . a) \
                   + :: rivus :: ExpiringField :: heap_bytes (& self . b)";
        assert!(code.contains(sum), "{code}");
    }

    #[test]
    fn a_row_without_a_ttl_has_nothing_to_say_of_time() {
        let code = expanded("struct Row { a: ValueState<u8> }");
        for method in ["EXPIRES", "expire", "stamp", "due"] {
            assert!(!code.contains(method), "{code}");
        }
    }

    #[test]
    fn a_ttl_is_said_in_milliseconds_with_what_renews_it() {
        let code = expanded(
            "struct Row { #[state(ttl = \"1m\", renew = \"read_and_write\")] a: Expiring<ValueState<u8>> }",
        );
        assert!(
            code.contains("millis : 60000i64 , on_read : true"),
            "{code}"
        );
        for method in [
            "fn expire",
            "fn stamp",
            "fn due",
            "ExpiringField :: is_vacant",
        ] {
            assert!(code.contains(method), "{code}");
        }
    }

    #[test]
    fn wrong_lifetimes_are_refused_with_the_mend() {
        let table = [
            ("a: Expiring<ValueState<u8>>", "for how long?"),
            ("#[state(ttl = \"soon\")] a: Expiring<X>", "such as \"30m\""),
            ("#[state(ttl = 5)] a: Expiring<X>", "string literal"),
            ("#[state(renew = \"write\")] a: Expiring<X>", "ttl = "),
            (
                "#[state(ttl = \"1h\", renew = \"read\")] a: Expiring<X>",
                "\"read_and_write\"",
            ),
            ("#[state(tll = \"1h\")] a: Expiring<X>", "expected `ttl"),
        ];
        for (field, told) in table {
            let code = expanded(&format!("struct Row {{ {field} }}"));
            assert!(code.starts_with("error: ") && code.contains(told), "{code}");
        }
    }

    #[test]
    fn another_crate_can_be_named() {
        let code = expanded("#[state(crate = \"rivus_core\")] struct Row { a: ValueState<u8> }");
        assert!(
            code.contains("impl rivus_core :: StateSet for Row"),
            "{code}"
        );
    }

    #[test]
    fn what_has_no_named_fields_is_refused_with_the_mend() {
        for code in ["struct Row(u8);", "struct Row;", "enum Row { A }"] {
            assert!(
                expanded(code).contains("struct with named fields"),
                "{code}"
            );
        }
        let wrong = expanded("#[state(crat = \"x\")] struct Row { }");
        assert!(wrong.contains("expected `crate"), "{wrong}");
    }
}
