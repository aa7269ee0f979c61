//! The derive macros of Rivus.

mod state_set;
mod ttl;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `StateSet` for a struct with named fields, all of them states (`ValueState`, `ListState`,
/// `MapState`, `ReducingState`, `AggregatingState`).
///
/// `#[state(ttl = "1h")]` on a field that is an `Expiring<..>` or `ExpiringMapState<..>` says for how long it lives without being written;
/// `#[state(ttl = "1h", renew = "read_and_write")]`, without being used.
///
/// The code it makes names the crate `rivus`; `#[state(crate = "rivus_core")]` on the struct names
/// another.
#[proc_macro_derive(StateSet, attributes(state))]
pub fn derive_state_set(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    state_set::expand(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
