//! `#[derive(StateSet)]`: a row is empty when each of its states is.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, LitStr, Path, Result, parse_quote};

/// The implementation for a struct with named fields; an error that says why for anything else.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let krate = crate_path(input)?;
    let Data::Struct(data) = &input.data else {
        return Err(refused(input));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(refused(input));
    };
    let each = fields.named.iter().map(|field| {
        let name = &field.ident;
        // The span makes the compiler point at the field's type.
        quote_spanned! { field.ty.span() => #krate::StateField::is_empty(&self.#name) }
    });
    let name = &input.ident;
    let (params, args, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #params #krate::StateSet for #name #args #bounds {
            fn is_empty(&self) -> bool {
                true #(&& #each)*
            }
        }
    })
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
