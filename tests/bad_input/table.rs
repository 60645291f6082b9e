//! Cases as they stand in the files: blocks of three lines.

/// One case.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// What is typed, sent or written.
    pub(super) given: String,
    /// The exit code, or the HTTP status.
    pub(super) exit: i32,
    /// The error's code.
    pub(super) code: String,
    /// What a person is told.
    pub(super) message: String,
}

impl Case {
    /// Where it fails, as far as that can be told from outside: its code, and its message without names and numbers.
    pub(super) fn place(&self) -> String {
        let mut place = format!("{} ", self.code);
        let mut quoted = None;
        let told = self.message.split(" (nothing changed)").next().unwrap_or_default();
        for character in told.chars() {
            match (quoted, character) {
                (None, '`' | '\'' | '"') => quoted = Some(character),
                (None, '{') => quoted = Some('}'),
                (Some(end), character) if character == end => {
                    quoted = None;
                    place.push('_');
                }
                (None, character) if !character.is_ascii_digit() => place.push(character),
                _ => {}
            }
        }
        place
    }
}

/// The cases of a file. Lines that begin with `#` are for people.
pub(super) fn cases(text: &str) -> Vec<Case> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines: Vec<&str> = lines.map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let block = |lines: &[&str]| {
        let [given, codes, message] = lines else { panic!("a case has three lines: {lines:?}") };
        let (exit, code) =
            codes.trim().split_once(' ').unwrap_or_else(|| panic!("{given}: `{codes}` is not two codes"));
        Case {
            given: (*given).to_owned(),
            exit: exit.parse().expect("a number"),
            code: code.to_owned(),
            message: message.trim().to_owned(),
        }
    };
    lines.chunks(3).map(block).collect()
}

/// The text with each `{name}` replaced.
pub(super) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

/// The words of a line; single quotes keep blanks together.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None;
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_with(String::new);
            }
            ' ' if !quoted => words.extend(word.take()),
            other => word.get_or_insert_with(String::new).push(other),
        }
    }
    words.extend(word);
    words
}
