//! What the documentation says of the repository is so.

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
    let guide = std::fs::read_dir(root.join("docs/guide")).expect("the guide is there");
    let mut pages: Vec<PathBuf> = guide.map(|page| page.expect("is listed").path()).collect();
    pages.extend(
        ["README.md", "docs/features.md", "docs/configuration.md"].map(|page| root.join(page)),
    );
    pages
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
