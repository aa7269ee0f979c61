//! What the documentation says of the repository is so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Links to files in a page of Markdown, without their anchors.
fn links(page: &str) -> Vec<&str> {
    let targets = page.split("](").skip(1);
    let targets = targets.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    let files = targets.map(|target| target.split('#').next().unwrap_or_default());
    files
        .filter(|file| !file.is_empty() && !file.contains("://"))
        .collect()
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["docs/guide", "docs/adr"].map(|folder| root.join(folder));
    let listed = folders.map(|folder| std::fs::read_dir(folder).expect("it is there"));
    let listed = listed.into_iter().flatten();
    let mut pages: Vec<PathBuf> = listed.map(|page| page.expect("is listed").path()).collect();
    pages.extend(
        [
            "README.md",
            "ARCHITECTURE.md",
            "docs/benchmarks.md",
            "docs/features.md",
            "docs/configuration.md",
            "docs/operating.md",
            "docs/verification/README.md",
        ]
        .map(|page| root.join(page)),
    );
    pages
}

/// The files and folders of the repository, as they are called from its root.
fn tree() -> BTreeSet<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tree = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("is a folder") {
            let path = entry.expect("is listed").path();
            let name = path.strip_prefix(root).expect("lies in it").to_owned();
            if name == Path::new(".git") || name == Path::new("target") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            }
            tree.insert(name);
        }
    }
    tree
}

/// What looks like a path in a page, wherever it begins.
fn paths(page: &str) -> impl Iterator<Item = &Path> {
    let words = page.split(|letter: char| {
        !letter.is_ascii_alphanumeric() && !['_', '-', '.', '/'].contains(&letter)
    });
    words.map(|word| Path::new(word.trim_start_matches(['.', '/']).trim_end_matches('.')))
}

#[test]
fn every_link_leads_to_something_that_exists() {
    let mut checked = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("is read");
        let dir = page.parent().expect("lies in a directory");
        for link in links(&text) {
            checked += 1;
            assert!(dir.join(link).exists(), "{}: {link}", page.display());
        }
    }
    assert!(checked > 80, "only {checked} links were found");
}

#[test]
fn every_file_that_a_page_names_exists() {
    let tree = tree();
    let mut checked = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("is read");
        for path in paths(&text) {
            let mut parts = path.components();
            let first = parts.next().map(|part| Path::new(part.as_os_str()));
            let is_whole = parts.next().is_some() && first.is_some_and(|of| tree.contains(of));
            let ending = path.extension().and_then(|ending| ending.to_str());
            let is_there = match ending {
                _ if is_whole => tree.contains(path),
                // Without the folders that were named before it.
                Some("rs" | "sh" | "sql") => tree.iter().any(|file| file.ends_with(path)),
                _ => continue,
            };
            checked += 1;
            assert!(is_there, "{}: {}", page.display(), path.display());
        }
    }
    assert!(checked > 400, "only {checked} files are named");
}

#[test]
fn what_deploys_a_process_gives_only_settings_that_there_are() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let settings = include_str!("../../docs/configuration.md");
    let mut checked = 0;
    for file in [
        "systemd/rivus.env.example",
        "systemd/rivus-jobmanager.service",
        "systemd/rivus-taskmanager.service",
        "Dockerfile",
        "compose.yaml",
    ] {
        let text = std::fs::read_to_string(deploy.join(file)).expect("is read");
        let words = text.split(|letter: char| letter != '_' && !letter.is_ascii_alphanumeric());
        for name in words.filter(|word| word.starts_with("RIVUS_")) {
            checked += 1;
            assert!(settings.contains(&format!("`{name}`")), "{file}: {name}");
        }
    }
    assert!(checked > 30, "only {checked} settings were found");
}

#[test]
fn every_row_of_the_feature_table_links_what_shows_its_calls() {
    let page = include_str!("../../docs/features.md");
    let (there, _) = page.split_once("## Not there yet").expect("the last part");
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| feature |");
    let rows: Vec<&str> = there.lines().filter(is_row).collect();
    assert!(rows.len() > 40, "only {} rows were found", rows.len());
    for row in rows {
        assert!(!links(row).is_empty(), "{row}");
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        let read = |link| std::fs::read_to_string(docs.join(link)).expect("is read");
        let shown: String = links(row).into_iter().map(read).collect();
        let calls = row.split(" | ").nth(1).expect("a cell of calls");
        for call in calls.split('`').skip(1).step_by(2) {
            let mut names = call.split(|letter: char| letter != '_' && !letter.is_alphanumeric());
            let unknown = names.find(|name| !shown.contains(name));
            assert_eq!(unknown, None, "no link of this row shows it: {row}");
        }
    }
}

#[test]
fn every_chapter_of_the_guide_runs_and_stands_in_its_contents() {
    let (contents, tested) = (
        include_str!("../../docs/guide/README.md"),
        include_str!("../../src/lib.rs"),
    );
    for page in pages() {
        let name = page.file_name().expect("is a file").to_string_lossy();
        if page.ends_with(format!("docs/guide/{name}")) && name != "README.md" {
            assert!(
                contents.contains(&format!("({name})")),
                "{name} is not in the contents"
            );
            assert!(
                tested.contains(&format!("docs/guide/{name}\")")),
                "{name} is not a doctest"
            );
        }
    }
}

/// The blocks of a page of Markdown that begin with so many letters behind their fence, as they stand.
fn blocks(page: &str, kind: &str) -> String {
    let fenced = page.split("\n```").skip(1).step_by(2);
    let of_kind = fenced.filter_map(|block| block.strip_prefix(kind));
    of_kind.collect::<Vec<_>>().join("\n")
}

/// The dependencies that a manifest's text has, each with its version and its features; one that has a path has no version.
fn dependencies(manifest: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let quoted = |text: &str| -> Vec<String> {
        let words = text.split('"').skip(1).step_by(2);
        words.map(str::to_owned).collect()
    };
    let lines = manifest.lines().filter_map(|line| line.split_once(" = "));
    let read = lines.map(|(name, value)| {
        let (plain, features) = value.split_once("features = ").unwrap_or((value, ""));
        let version = match plain.contains("path") {
            true => String::new(),
            false => quoted(plain).swap_remove(0),
        };
        let features = quoted(features).into_iter().collect();
        (name.to_owned(), (version, features))
    });
    read.collect()
}

#[test]
fn the_guide_names_every_crate_and_feature_that_its_programs_need_and_no_other() {
    let mut programs = String::new();
    let mut listed = BTreeMap::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("is read");
        if page.ends_with("docs/guide/README.md") {
            listed = dependencies(&blocks(&text, "toml"));
        } else if page.components().any(|part| part.as_os_str() == "guide") {
            programs.push_str(&blocks(&text, "rust"));
        }
    }
    let ours = include_str!("../../Cargo.toml");
    let (_, ours) = ours
        .split_once("[workspace.dependencies]")
        .expect("is there");
    let (ours, _) = ours.split_once("[workspace.lints").expect("comes behind");
    let ours = dependencies(ours);

    let is_used = |name: &&String| {
        let path = format!("{}::", name.replace('-', "_"));
        let before = programs.split(path.as_str());
        let before: Vec<&str> = before.collect();
        let starts = |before: &&str| {
            !before.ends_with(|letter: char| {
                [':', '_', '.'].contains(&letter) || letter.is_alphanumeric()
            })
        };
        before[..before.len() - 1].iter().any(starts)
    };
    let used: BTreeSet<&String> = ours.keys().filter(is_used).collect();
    assert_eq!(listed.keys().collect::<BTreeSet<_>>(), used);

    // What shows in a program that it needs a feature.
    let signs = [
        ("tokio", "macros", "#[tokio::"),
        ("tokio", "rt-multi-thread", "#[tokio::main]"),
        ("tokio", "test-util", "start_paused"),
        ("tokio", "time", "tokio::time"),
        ("tokio", "net", "tokio::net"),
        ("tokio", "sync", "tokio::sync"),
        ("tokio", "fs", "tokio::fs"),
        ("serde", "derive", "Serialize"),
        ("clap", "derive", "derive(Parser)"),
    ];
    for (name, (version, features)) in &listed {
        let of_crate = signs
            .iter()
            .filter(|(of, _, sign)| of == name && programs.contains(sign));
        let needed: BTreeSet<String> = of_crate
            .map(|(_, feature, _)| (*feature).to_owned())
            .collect();
        assert_eq!(*features, needed, "features of {name}");
        assert_eq!(*version, ours[name].0, "version of {name}");
    }
}
