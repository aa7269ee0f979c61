//! The rooms of the house: which crate may see which, and what none of them may do.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Every crate, and the crates of this workspace that it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("rivus-macros", &[]),
    ("rivus-core", &["rivus-macros"]),
    ("rivus-state", &["rivus-core"]),
    ("rivus-operators", &["rivus-core"]),
    ("rivus-connectors", &["rivus-core"]),
    ("rivus-wire", &[]),
    ("rivus-actors", &["rivus-core", "rivus-state", "rivus-wire"]),
    (
        "rivus",
        &[
            "rivus-core",
            "rivus-state",
            "rivus-operators",
            "rivus-connectors",
            "rivus-wire",
            "rivus-actors",
        ],
    ),
    ("rivus-chaos", &["rivus"]),
    ("rivus-nexmark", &["rivus"]),
];

/// Crates of others that a room must not see.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "rivus-core",
        &["tokio", "ractor", "object_store", "rand", "futures"],
    ),
    (
        "rivus-operators",
        &["tokio", "ractor", "object_store", "rand"],
    ),
    ("rivus-connectors", &["tokio", "ractor", "rand"]),
    ("rivus-state", &["ractor"]),
    ("rivus-wire", &["ractor", "serde", "rand"]),
];

#[test]
fn dependencies_point_down_only() {
    let metadata = MetadataCommand::new()
        .no_deps()
        .exec()
        .expect("cargo metadata runs");
    let found: BTreeMap<&str, BTreeSet<&str>> = metadata
        .packages
        .iter()
        .map(|package| {
            let normal = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind == DependencyKind::Normal)
                .map(|dependency| dependency.name.as_str())
                .collect();
            (package.name.as_str(), normal)
        })
        .collect();
    let known: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        found.keys().copied().collect::<BTreeSet<_>>(),
        known,
        "a new crate needs a place in ARCHITECTURE.md and in this test"
    );
    for (name, allowed) in ARROWS {
        for dependency in found[name].iter().filter(|name| known.contains(*name)) {
            assert!(
                allowed.contains(dependency),
                "{name} must not see {dependency}"
            );
        }
    }
    for (name, forbidden) in FORBIDDEN {
        for dependency in *forbidden {
            assert!(
                !found[name].contains(dependency),
                "{name} must not use {dependency}"
            );
        }
    }
}
