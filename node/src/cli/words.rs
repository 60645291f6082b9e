//! A command line in one string, split into words as people expect, without a shell.

/// The words of `text`: blanks separate, single and double quotes group, a backslash takes the next character as it is
/// (between double quotes only before `"` and `\`, between single quotes never).
///
/// # Errors
/// What is wrong, when a quote is not closed, a backslash stands last, or there is no word.
pub(crate) fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next().ok_or("a single quote is not closed")? {
                        '\'' => break,
                        inner => word.push(inner),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next().ok_or("a double quote is not closed")? {
                        '"' => break,
                        '\\' if matches!(characters.peek(), Some('"' | '\\')) => word.extend(characters.next()),
                        inner => word.push(inner),
                    }
                }
            }
            '\\' => {
                let escaped = characters.next().ok_or("a backslash stands last")?;
                word.get_or_insert_default().push(escaped);
            }
            plain => word.get_or_insert_default().push(plain),
        }
    }
    words.extend(word);
    if words.is_empty() { Err("there is no program in it") } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_quotes() {
        let cases: [(&str, &[&str]); 6] = [
            ("python3 agent.py", &["python3", "agent.py"]),
            ("  a   b\t", &["a", "b"]),
            (r#"sh -c 'echo "hi there"'"#, &["sh", "-c", r#"echo "hi there""#]),
            (r#"a "b \" \\ \n" c\ d"#, &["a", r#"b " \ \n"#, "c d"]),
            ("a '' \"\"", &["a", "", ""]),
            ("a'b'\"c\"d", &["abcd"]),
        ];
        for (text, words) in cases {
            assert_eq!(split(text).expect("words"), words, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_split_is_refused() {
        assert_eq!(split("a 'b"), Err("a single quote is not closed"));
        assert_eq!(split("a \"b"), Err("a double quote is not closed"));
        assert_eq!(split("a \\"), Err("a backslash stands last"));
        assert_eq!(split("  "), Err("there is no program in it"));
    }
}
