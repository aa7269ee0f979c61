//! What a picture expects, beside what came out.
//!
//! Words come in their order. Between `{` and `}` stand records whose order nobody promises: when a watermark fires the windows of
//! several keys, in memory the keys come in the order in which their rows lie, over a store in that of their key groups.

/// What isn't as expected, side by side with what came out; none if all is.
pub(super) fn difference(came: &str, expected: &str) -> Option<String> {
    let came: Vec<&str> = came.split_whitespace().collect();
    let expected = match in_order_of(&came, expected) {
        Ok(expected) if expected == came => return None,
        Ok(expected) => expected,
        Err(mistake) => return Some(mistake),
    };
    let mut told = side_by_side(&came, &expected);
    let unknown = |word: &&&str| !comes_out(word) && !came.contains(word);
    if let Some(word) = expected.iter().find(unknown) {
        told += &format!(
            "\nthe word {word} never comes out: records do, as a@1, and {CONTROLS}; {{ and }} stand around records in any order"
        );
    } else if sorted(&came) == sorted(&expected) {
        told += "\nthe same words in another order: nobody promises one for the keys whose windows one watermark fires. Expect their \
                 records between { and }";
    }
    Some(told)
}

/// Control elements as they come out.
const CONTROLS: &str = "!6, !max, |, end, idle, wait, split";

fn comes_out(word: &str) -> bool {
    let is_control = CONTROLS.split(", ").any(|control| control == word);
    is_control || word.contains('@') || word.starts_with('!') || word.starts_with("round")
}

/// The words that are expected; those between braces as they came, as far as they did.
fn in_order_of<'a>(came: &[&'a str], expected: &'a str) -> Result<Vec<&'a str>, String> {
    let mut words = Vec::new();
    // Where the open brace stands.
    let mut open = None;
    for word in expected.split_whitespace() {
        match (word, open) {
            ("{", None) => open = Some(words.len()),
            ("}", Some(from)) => {
                let came = came.get(from..).unwrap_or_default();
                follow(&mut words[from..], came);
                open = None;
            }
            ("{" | "}", _) => return Err(unpaired(expected)),
            (word, Some(_)) if !word.contains('@') => {
                return Err(format!(
                    "the word {word} stands between {{ and }}, where only records do: {expected}"
                ));
            }
            _ => words.push(word),
        }
    }
    match open {
        Some(_) => Err(unpaired(expected)),
        None => Ok(words),
    }
}

fn unpaired(expected: &str) -> String {
    format!("a brace has no other one, in what is expected: {expected}")
}

fn follow<'a>(words: &mut [&'a str], came: &[&'a str]) {
    for (at, came) in came.iter().enumerate().take(words.len()) {
        if let Some(further) = words[at..].iter().position(|word| word == came) {
            words.swap(at, at + further);
        }
    }
}

fn sorted<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let mut words = words.to_vec();
    words.sort_unstable();
    words
}

/// A line for each word; those that differ are marked.
fn side_by_side(came: &[&str], expected: &[&str]) -> String {
    let (left, right) = ("came out", "expected");
    let width = came.iter().map(|word| word.chars().count()).max();
    let width = width.unwrap_or(0).max(left.len());
    let mut told = format!("  {left:width$}  {right}\n");
    for at in 0..came.len().max(expected.len()) {
        let word = |words: &[&str]| {
            words
                .get(at)
                .map_or(String::new(), |word| (*word).to_owned())
        };
        let (came, expected) = (word(came), word(expected));
        let mark = if came == expected { ' ' } else { '>' };
        told += format!("{mark} {came:width$}  {expected}").trim_end();
        told.push('\n');
    }
    told
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn words_come_in_their_order_and_those_between_braces_in_any() {
        for (came, expected) in [
            ("", ""),
            ("a@1 !6", " a@1   !6 "),
            ("a@9 b@9 !9 c@19", "{ b@9 a@9 } !9 c@19"),
            ("a@9 b@9 a@9", "{ a@9 a@9 b@9 }"),
            ("| a@1 b@2 c@2 !2 !max", "| a@1 { c@2 b@2 } !2 { } !max"),
        ] {
            assert_eq!(difference(came, expected), None, "{expected}");
        }
        for (came, expected) in [
            ("a@1", ""),
            ("", "a@1"),
            ("a@9 b@9", "b@9 a@9"),
            ("a@9 b@9 b@9", "{ a@9 a@9 b@9 }"),
            ("a@9 !9 b@9", "{ a@9 b@9 } !9"),
            ("a@9", "{ a@9 b@9 }"),
            ("a@9 b@9", "{ a@9 }"),
        ] {
            assert!(difference(came, expected).is_some(), "{expected}");
        }
    }

    #[test]
    fn what_differs_is_told_side_by_side() {
        let told = difference("a=10@9 !9 c@19", "{ b@9 } !9").unwrap();
        let lines: Vec<&str> = told.lines().collect();
        let expected = [
            "  came out  expected",
            "> a=10@9    b@9",
            "  !9        !9",
            "> c@19",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn the_mend_is_told_with_it() {
        for (came, expected, mend) in [
            ("a@9 b@9", "b@9 a@9", "Expect their records between { and }"),
            ("a@9", "a@9 x", "the word x never comes out: records do"),
            ("a@9", "{ a@9", "a brace has no other one"),
            ("a@9", "a@9 }", "a brace has no other one"),
            ("a@9 !9", "{ a@9 !9 }", "the word !9 stands between { and }"),
        ] {
            let told = difference(came, expected).unwrap();
            assert!(told.contains(mend), "{told}");
        }
    }
}
