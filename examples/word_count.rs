//! Counts the words of a text: the smallest job with a key.
//!
//! It shows a source of lines, `flat_map`, `key_by`, and how a bounded stream ends: words have no time of
//! their own, so all of them lie in one window, which closes when the text is over. Each word is emitted
//! once, however often it occurs.
//!
//! ```text
//! cargo run --example word_count                                   # a built-in text
//! cargo run --example word_count -- README.md --parallelism 4 --top 20
//! ```

#[path = "world/screen.rs"]
mod screen;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use rivus::connectors::TextFileSource;
use rivus::{JobError, StreamEnvironment, WatermarkStrategy, WindowAssigner};

/// Ecclesiastes 1:4-7, King James Version.
pub const TEXT: &str = "\
One generation passeth away, and another generation cometh: but the earth abideth for ever.
The sun also ariseth, and the sun goeth down, and hasteth to his place where he arose.
The wind goeth toward the south, and turneth about unto the north; it whirleth about continually,
and the wind returneth again according to his circuits.
All the rivers run into the sea; yet the sea is not full;
unto the place from whence the rivers come, thither they return again.";

/// Counts the words of a text and prints the most frequent ones.
#[derive(Parser)]
pub struct Args {
    /// The file with the text. Without one, some verses of Ecclesiastes that are part of the program are counted.
    file: Option<PathBuf>,
    /// How many subtasks count.
    #[arg(long, default_value_t = 2)]
    parallelism: u32,
    /// How many words to print.
    #[arg(long, default_value_t = 10)]
    top: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    if args.file.is_none() {
        eprintln!(
            "no file is named: counting the words of Ecclesiastes 1:4-7 (--help shows the options)"
        );
    }
    let words = word_count(&args).await?;
    let words = words.iter().take(args.top);
    screen::show(words.map(|(word, count)| format!("{count:>8}  {word}")))?;
    Ok(())
}

/// The words and how often they occur, the most frequent first, equally frequent ones by name.
pub async fn word_count(args: &Args) -> Result<Vec<(String, u64)>, JobError> {
    let env = StreamEnvironment::builder()
        .parallelism(args.parallelism)
        .build();
    let lines = match &args.file {
        Some(file) => env.from_source(TextFileSource::new(file).lossy_utf8()),
        None => env.from_collection(TEXT.lines().map(str::to_owned).collect()),
    };
    let counts = lines
        .flat_map(|line: String| words(&line))
        .assign_watermarks(WatermarkStrategy::monotonous().with_timestamps(|_: &String| 0))
        .key_by_ref(|word| word.as_str())
        .window(WindowAssigner::tumbling(Duration::from_millis(1)))
        .count()
        .collect();
    env.execute("word count").await?;
    let counts = counts.values().into_iter();
    let mut counts: Vec<_> = counts.map(|row| (row.key, row.value)).collect();
    counts.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
    Ok(counts)
}

/// The words of a line, in lower case.
fn words(line: &str) -> Vec<String> {
    line.split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}
