//! Files that jobs read and write.

use std::io::{self, Read, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use rivus::connectors::{Compression, FileSink, ParquetSource, RollingPolicy};
use rivus::{
    CheckpointId, DataStream, Event, ParallelInstance, ReadStatus, Sink, SinkWriter, Source,
    SourceReader, UserError,
};

use super::functions::Line;
use super::outside::Row;
use super::records::Reading;
use super::shape::Shape;
use super::spec::{Inbox, Written};
use super::world::World;
use crate::outside::{Arrivals, Observer};

impl World {
    /// Writes files that are to come into the inbox, every other one packed, and what ends the watch.
    pub(super) fn hide_input(&self) -> io::Result<Arrivals> {
        let inbox = self.inbox();
        std::fs::create_dir(&inbox)?;
        let readings = Reading::all(&self.spec);
        let per_file = self.spec.per_file() as usize;
        let mut files = Vec::new();
        for (number, part) in readings.chunks(per_file).enumerate() {
            let text = inbox_file(self.spec.inbox(), part);
            let (name, bytes) = match number % 3 {
                0 => (format!("in-{number}.txt"), text.into_bytes()),
                1 => {
                    let mut packer = GzEncoder::new(Vec::new(), flate2::Compression::fast());
                    packer.write_all(text.as_bytes())?;
                    (format!("in-{number}.txt.gz"), packer.finish()?)
                }
                _ => {
                    let packed = zstd::encode_all(text.as_bytes(), 1)?;
                    (format!("in-{number}.txt.zst"), packed)
                }
            };
            let hidden = inbox.join(format!(".{name}"));
            std::fs::write(&hidden, bytes)?;
            files.push((hidden, inbox.join(name)));
        }
        let hidden = inbox.join(".done");
        std::fs::write(&hidden, "")?;
        files.push((hidden, self.done()));
        Ok(Arrivals::new(files, self.spec.lasts() / 8))
    }

    pub(super) fn write_input(&self) -> io::Result<()> {
        let readings = Reading::all(&self.spec);
        let per_file = self.spec.per_file() as usize;
        for (number, part) in readings.chunks(per_file).enumerate() {
            let lines: String = part.iter().map(|reading| format!("{reading}\n")).collect();
            std::fs::write(self.files.path().join(format!("in-{number}.csv")), lines)?;
        }
        Ok(())
    }

    /// Writes Parquet files whose names are in the order of their records.
    pub(super) fn write_columns(&self) -> io::Result<()> {
        let readings = Reading::all(&self.spec);
        let per_file = self.spec.per_file() as usize;
        self.write_parts(&readings, per_file)
            .map_err(io::Error::other)
    }

    fn write_parts(&self, readings: &[Reading], per_file: usize) -> Result<(), UserError> {
        let sink = FileSink::<Reading>::parquet(self.inbox());
        let mut writer = sink.writer(ParallelInstance::ALONE, None)?;
        let committer = sink.committer().ok_or("files are committed")?;
        for (number, part) in readings.chunks(per_file).enumerate() {
            writer.write(part.iter().cloned().map(|r| Event::at(r.ts, r)).collect())?;
            for part in writer.prepare_commit(CheckpointId(number as u64 + 1), false)? {
                committer.commit(&part)?;
            }
        }
        Ok(())
    }

    /// Writes what nobody else of its shape has in files, closed at checkpoints or kept open over them.
    pub(super) fn to_files(&self, lines: &DataStream<Line>) {
        let rolling = RollingPolicy {
            max_bytes: 1_000,
            on_checkpoint: self.spec.seed.is_multiple_of(2),
        };
        let show = |(key, value): &Line| format!("{key}\t{value}");
        let sink = FileSink::lines_with(self.out_dir(), show).rolling(rolling);
        let _ = lines.sink_to(sink).parallelism(self.wide());
    }

    /// Committed files only, by subtask and number.
    pub(super) fn read_files(&self) -> io::Result<Vec<Line>> {
        let parts = self.out.parts()?;
        let files = parts.values().map(|path| (self.reads())(path));
        Ok(files.collect::<io::Result<Vec<_>>>()?.concat())
    }

    /// How its files are read.
    fn reads(&self) -> fn(&Path) -> io::Result<Vec<Line>> {
        match (self.spec.shape, self.spec.written()) {
            (Shape::Parquet, _) => rows,
            (_, Written::Lines) => lines,
            (_, Written::Csv) => csv,
            (_, Written::Json) => json,
        }
    }

    /// Who reads them while the job runs, if its output is in files.
    pub fn observer(&self) -> Option<Observer> {
        let writes_files = self.spec.shape.writes_files();
        writes_files.then(|| Observer::new(self.out.clone(), self.reads()))
    }
}

/// A file of the inbox, with a line in it that is no record.
fn inbox_file(inbox: Inbox, part: &[Reading]) -> String {
    let rows = part.iter().map(|reading| match inbox {
        Inbox::Csv => format!("{reading}\n"),
        Inbox::MultilineCsv => format!("{reading},\"of {}\n\nand more\"\n", reading.id),
        Inbox::Json => {
            let Reading { id, key, ts, value } = reading;
            format!("{{\"id\":{id},\"key\":{key},\"ts\":{ts},\"value\":{value}}}\n")
        }
    });
    let rows: String = rows.collect();
    let head = match inbox {
        Inbox::Csv => "id,key,ts,value\n",
        Inbox::MultilineCsv => "id,key,ts,value,note\n",
        Inbox::Json => "",
    };
    format!("{head}no record\n{rows}")
}

/// The lines of a file, all of which are whole.
pub fn lines(path: &Path) -> io::Result<Vec<Line>> {
    split_by(path, |line| line.split_once('\t'))
}

/// The same of rows whose values hold no comma.
fn csv(path: &Path) -> io::Result<Vec<Line>> {
    split_by(path, |line| line.split_once(','))
}

/// The same of arrays of two strings that hold no quotation mark.
fn json(path: &Path) -> io::Result<Vec<Line>> {
    split_by(path, |line| {
        let inside = line.strip_prefix("[\"")?.strip_suffix("\"]")?;
        inside.split_once("\",\"")
    })
}

fn split_by(path: &Path, split: fn(&str) -> Option<(&str, &str)>) -> io::Result<Vec<Line>> {
    let text = text(path)?;
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(io::Error::other("its last line has no end"));
    }
    let lines = text.lines().map(|line| match split(line) {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(io::Error::other(format!("a line is {line}"))),
    });
    lines.collect()
}

/// A Parquet file's rows, as any other job would read them.
fn rows(path: &Path) -> io::Result<Vec<Line>> {
    let read = || -> Result<Vec<Event<Row>>, UserError> {
        let source = ParquetSource::new(path);
        let mut reader = source.reader(ParallelInstance::ALONE)?;
        for split in source.splits(1)? {
            reader.add_split(split)?;
        }
        let mut rows = Vec::new();
        while reader.read(&mut rows, usize::MAX, 0)? != ReadStatus::SplitsDone {}
        Ok(rows)
    };
    let rows = read().map_err(io::Error::other)?;
    Ok(rows
        .into_iter()
        .map(|row| (row.value.key, row.value.value))
        .collect())
}

/// A file's text, unpacked by what others unpack with.
fn text(path: &Path) -> io::Result<String> {
    let file = std::fs::File::open(path)?;
    let mut text = String::new();
    match Compression::of(path) {
        None => std::io::BufReader::new(file).read_to_string(&mut text)?,
        Some(Compression::Gzip) => MultiGzDecoder::new(file).read_to_string(&mut text)?,
        Some(Compression::Zstd) => zstd::Decoder::new(file)?.read_to_string(&mut text)?,
    };
    Ok(text)
}
