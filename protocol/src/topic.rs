//! Which topics a pattern means.

use crate::id::{TopicName, TopicPattern};

/// The word that stands for any one word.
const ANY_WORD: &str = "*";
/// The last word that stands for all that follows.
const REST: &str = ">";

impl TopicPattern {
    /// The pattern of every topic.
    #[must_use]
    pub fn everything() -> Self {
        REST.parse().expect("BUG: a pattern")
    }

    /// The one topic it means; none when it has a wildcard.
    #[must_use]
    pub fn exact(&self) -> Option<TopicName> {
        self.as_str().parse().ok()
    }

    /// Whether it has a wildcard.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.as_str().split('.').any(|word| word == ANY_WORD || word == REST)
    }

    /// Whether it means this topic.
    #[must_use]
    pub fn matches(&self, topic: &TopicName) -> bool {
        let mut words = topic.as_str().split('.');
        for wanted in self.as_str().split('.') {
            match words.next() {
                None => return false,
                Some(_) if wanted == REST => return true,
                Some(word) if wanted == ANY_WORD || wanted == word => {}
                Some(_) => return false,
            }
        }
        words.next().is_none()
    }

    /// Whether it means every topic that `other` means.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        let mut words = other.as_str().split('.');
        for wanted in self.as_str().split('.') {
            match words.next() {
                None => return false,
                Some(_) if wanted == REST => return true,
                Some(REST) => return false,
                Some(word) if wanted == ANY_WORD || wanted == word => {}
                Some(_) => return false,
            }
        }
        words.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        let pattern: TopicPattern = pattern.parse().expect("a pattern");
        pattern.matches(&topic.parse().expect("a topic"))
    }

    #[test]
    fn a_star_means_one_word_and_an_arrow_one_or_more() {
        let cases = [
            ("a", "a", true),
            ("a", "a.b", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("a.>", "a.b", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("*.b", "a.b", true),
            ("*.b", "a.c", false),
            ("*.*", "a.b", true),
            ("*.>", "a.b.c", true),
            (">", "a", true),
            (">", "a.b.c", true),
        ];
        for (pattern, topic, expected) in cases {
            assert_eq!(matches(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn a_pattern_includes_what_means_no_other_topics() {
        let patterns = ["a", "a.b", "a.*", "a.>", "*.b", "*", ">"];
        let included = patterns.iter().flat_map(|wide| patterns.iter().map(move |narrow| (*wide, *narrow)));
        let included = included.filter(|(wide, narrow)| {
            let [wide, narrow]: [TopicPattern; 2] = [wide, narrow].map(|text| text.parse().expect("a pattern"));
            wide != narrow && wide.includes(&narrow)
        });
        let expected = [
            ("a.*", "a.b"),
            ("a.>", "a.b"),
            ("a.>", "a.*"),
            ("*.b", "a.b"),
            ("*", "a"),
            (">", "a"),
            (">", "a.b"),
            (">", "a.*"),
            (">", "a.>"),
            (">", "*.b"),
            (">", "*"),
        ];
        assert_eq!(included.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_no_pattern_is_refused_and_a_pattern_is_no_topic() {
        for text in ["", ".", "a.", "a.>.b", "a>", "a*", "*a", "a..b", "a b", ">.a", "a.*b", ".>"] {
            assert!(text.parse::<TopicPattern>().is_err(), "{text}");
        }
        for text in ["a.*", "a.>", ">", "*"] {
            assert!(text.parse::<TopicName>().is_err(), "{text}");
            let pattern: TopicPattern = text.parse().expect("a pattern");
            assert!(pattern.is_wildcard() && pattern.exact().is_none(), "{text}");
        }
        let topic: TopicName = "a.b".parse().expect("a topic");
        assert_eq!(TopicPattern::from(topic.clone()).exact(), Some(topic));
    }
}
