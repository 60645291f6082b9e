//! Lines of bounded length out of any stream of bytes: a longer one is skipped to its end and reported, never held.

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// One line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Whole.
    Whole(Vec<u8>),
    /// Longer than the bound: its contents are gone.
    TooLong,
}

/// The next line of at most `bytes_max` bytes; the last one may lack its end. None when the stream is over or broken.
pub(crate) async fn next_line<R: AsyncBufRead + Unpin>(reader: &mut R, bytes_max: usize) -> Option<Line> {
    let mut line = Vec::new();
    let mut too_long = false;
    let mut begun = false;
    loop {
        let buffer = match reader.fill_buf().await {
            Ok(buffer) if !buffer.is_empty() => buffer,
            Ok(_) | Err(_) if begun => break,
            Ok(_) | Err(_) => return None,
        };
        begun = true;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
        too_long |= line.len() + part.len() > bytes_max;
        if too_long {
            line = Vec::new();
        } else {
            line.extend_from_slice(part);
        }
        let used = end.map_or(buffer.len(), |end| end + 1);
        reader.consume(used);
        if end.is_some() {
            break;
        }
    }
    Some(if too_long { Line::TooLong } else { Line::Whole(line) })
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    async fn lines(text: &[u8], buffer: usize) -> Vec<Line> {
        let mut reader = BufReader::with_capacity(buffer, text);
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut reader, 4).await {
            lines.push(line);
        }
        lines
    }

    #[tokio::test]
    async fn lines_are_cut_at_their_ends_and_long_ones_are_skipped() {
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        for buffer in [1, 3, 64] {
            let found = lines(b"ab\n\nabcd\nabcde\nx\nabcdefghij\ny", buffer).await;
            let expected =
                [whole("ab"), whole(""), whole("abcd"), Line::TooLong, whole("x"), Line::TooLong, whole("y")];
            assert_eq!(found, expected, "buffer of {buffer}");
            assert_eq!(lines(b"", buffer).await, []);
            assert_eq!(lines(b"abcdefg", buffer).await, [Line::TooLong]);
        }
    }
}
