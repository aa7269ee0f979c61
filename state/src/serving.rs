//! What the object stores of this crate's own, memory and etcd, have in common: how they answer.

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetResult, GetResultPayload, ListResult, ObjectMeta, PutResult, Result,
};

/// There is no clock here, and nobody asks for an object's age.
pub(crate) fn meta(location: Path, size: u64) -> ObjectMeta {
    ObjectMeta {
        location,
        last_modified: Default::default(),
        size,
        e_tag: None,
        version: None,
    }
}

/// Nobody asks for versions either.
pub(crate) fn put() -> PutResult {
    PutResult {
        e_tag: None,
        version: None,
        extensions: Default::default(),
    }
}

/// What is asked for of an object that consists of such pieces.
///
/// # Errors
/// If the conditions are not met, or the range begins behind it.
pub(crate) fn got(
    store: &'static str,
    location: &Path,
    pieces: &[Bytes],
    options: &GetOptions,
) -> Result<GetResult> {
    let size = pieces.iter().map(|piece| piece.len() as u64).sum();
    let meta = meta(location.clone(), size);
    options.check_preconditions(&meta)?;
    let range = match &options.range {
        None => 0..size,
        Some(range) => range.as_range(size).map_err(|error| Error::Generic {
            store,
            source: Box::new(error),
        })?,
    };
    let pieces = cut(pieces, &range).into_iter().map(Ok);
    Ok(GetResult {
        payload: GetResultPayload::Stream(stream::iter(pieces).boxed()),
        meta,
        range,
        attributes: Default::default(),
        extensions: Default::default(),
    })
}

/// The part of some pieces that lies in a range.
fn cut(pieces: &[Bytes], range: &Range<u64>) -> Vec<Bytes> {
    let mut begin = 0;
    let mut cut = Vec::new();
    for piece in pieces {
        let end = begin + piece.len() as u64;
        let (from, to) = (range.start.max(begin), range.end.min(end));
        if from < to {
            cut.push(piece.slice((from - begin) as usize..(to - begin) as usize));
        }
        begin = end;
    }
    cut
}

/// Of all objects, those in a folder, and the folders in it.
pub(crate) fn in_folder(
    folder: Option<&Path>,
    objects: impl IntoIterator<Item = ObjectMeta>,
) -> ListResult {
    let root = Path::ROOT;
    let folder = folder.unwrap_or(&root);
    let (mut folders, mut found) = (BTreeSet::new(), Vec::new());
    for object in objects {
        let below = object.location.prefix_match(folder);
        let Some([first, second]) = below.map(|mut names| [names.next(), names.next()]) else {
            continue;
        };
        match (first, second) {
            (Some(below), Some(_)) => drop(folders.insert(folder.clone().join(below))),
            (Some(_), None) => found.push(object),
            (None, _) => {}
        }
    }
    ListResult {
        objects: found,
        common_prefixes: folders.into_iter().collect(),
        extensions: Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_pieces_is_cut_out_wherever_it_begins_and_ends() {
        let pieces: Vec<Bytes> = ["ab", "c", "def"].map(Bytes::from).into();
        for start in 0..7 {
            for end in start..7 {
                let expected = &"abcdef"[start.min(6)..end.min(6)];
                assert_eq!(
                    cut(&pieces, &(start as u64..end as u64)).concat(),
                    expected.as_bytes()
                );
            }
        }
    }

    #[test]
    fn a_folder_shows_its_objects_and_each_folder_in_it_once() {
        let names = ["a", "b/c", "b/d/e", "b/d/f", "bc/g"];
        let listed = |folder: &str| {
            let objects = names.map(|name| meta(Path::from(name), 0));
            let listed = in_folder(Some(&Path::from(folder)), objects);
            let objects = listed.objects.into_iter().map(|object| object.location);
            let names = objects.chain(listed.common_prefixes);
            let names: Vec<String> = names.map(|name| name.to_string()).collect();
            names.join(" ")
        };
        for (folder, shows) in [
            ("", "a b bc"),
            ("b", "b/c b/d"),
            ("b/d", "b/d/e b/d/f"),
            ("a", ""),
        ] {
            assert_eq!(listed(folder), shows, "{folder}");
        }
    }
}
