//! What the files of jobs show.

use std::path::Path;

/// The lines of all CSV files of a directory that are visible, in order; none if it isn't there.
pub(crate) fn csv_lines(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for part in std::fs::read_dir(dir).into_iter().flatten() {
        let part = part.expect("is listed").path();
        if part.extension().is_some_and(|extension| extension == "csv") {
            let text = std::fs::read_to_string(part).expect("is read");
            lines.extend(text.lines().map(str::to_owned));
        }
    }
    lines.sort();
    lines
}
