//! The nearest right word to a wrong one, for hints.

/// The candidate within two edits (a third of its length for short words), the nearest first; `None` when all are further.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 2.min(candidate.chars().count().div_ceil(3)))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits between the beginnings of two words: insert, delete, replace, and swap of neighbours (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let beginning = |word: &str| word.chars().take(64).collect::<String>();
    strsim::osa_distance(&beginning(one), &beginning(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let words = ["echo", "counter", "clock"];
        assert_eq!(nearest("ecko", words), Some("echo"));
        assert_eq!(nearest("ehco", words), Some("echo"));
        assert_eq!(nearest("coutner", words), Some("counter"));
        assert_eq!(nearest("clocks", words), Some("clock"));
        assert_eq!(nearest("summarizer", words), None);
        assert_eq!(nearest("x", ["y"]), Some("y"));
        assert_eq!(nearest("", ["echo"]), None);
    }

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("abc", "acb"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
