//! Frames on a stream: the length of the body as four bytes, big-endian, then the body; the bound is checked before the
//! body is read.

use std::io;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// A frame that is longer than its protocol allows. The sender's fault; nothing of it was read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too-large: a frame of {size} bytes, at most {max} are allowed; send less at once")]
pub(super) struct FrameTooLarge {
    /// What it claims.
    pub(super) size: usize,
    /// What is allowed.
    pub(super) max: usize,
}

/// Reads one frame.
///
/// # Errors
/// [`FrameTooLarge`] inside [`io::ErrorKind::InvalidData`]; `UnexpectedEof` when the stream ends.
pub(super) async fn read_frame<T>(stream: &mut T, bytes_max: usize) -> io::Result<Vec<u8>>
where
    T: AsyncRead + Unpin + Send + ?Sized,
{
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let size = u32::from_be_bytes(length) as usize;
    if size > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, FrameTooLarge { size, max: bytes_max }));
    }
    let mut body = vec![0; size];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

/// Writes one frame and flushes it.
///
/// # Errors
/// [`FrameTooLarge`] inside [`io::ErrorKind::InvalidInput`], before anything is written; otherwise what the stream says.
pub(super) async fn write_frame<T>(stream: &mut T, body: &[u8], bytes_max: usize) -> io::Result<()>
where
    T: AsyncWrite + Unpin + Send + ?Sized,
{
    stream.write_all(&length_of(body, bytes_max)?).await?;
    stream.write_all(body).await?;
    stream.flush().await
}

/// Puts one frame behind others that leave with it.
///
/// # Errors
/// [`FrameTooLarge`] inside [`io::ErrorKind::InvalidInput`]; nothing was added.
pub(super) fn append_frame(frames: &mut Vec<u8>, body: &[u8], bytes_max: usize) -> io::Result<()> {
    frames.extend(length_of(body, bytes_max)?);
    frames.extend(body);
    Ok(())
}

fn length_of(body: &[u8], bytes_max: usize) -> io::Result<[u8; 4]> {
    let size = body.len();
    let length = u32::try_from(size).ok().filter(|_| size <= bytes_max);
    let length =
        length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, FrameTooLarge { size, max: bytes_max }))?;
    Ok(length.to_be_bytes())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use futures::executor::block_on;
    use futures::io::Cursor;

    use super::*;

    #[test]
    fn a_frame_has_these_bytes_and_comes_back() {
        let mut written = Vec::new();
        block_on(write_frame(&mut written, b"weft", 4)).unwrap();
        assert_eq!(written, b"\0\0\0\x04weft");
        let mut together = written.clone();
        append_frame(&mut together, b"mesh", 4).unwrap();
        assert_eq!(together, b"\0\0\0\x04weft\0\0\0\x04mesh");
        assert_eq!(block_on(read_frame(&mut Cursor::new(written), 4)).unwrap(), b"weft");
    }

    #[test]
    fn one_byte_too_many_is_refused_on_both_sides() {
        let mut written = Vec::new();
        let error = block_on(write_frame(&mut written, b"weft.", 4)).unwrap_err();
        assert_eq!(error.to_string(), "too-large: a frame of 5 bytes, at most 4 are allowed; send less at once");
        assert!(append_frame(&mut written, b"weft.", 4).is_err());
        assert!(written.is_empty(), "nothing is written");
        let error = block_on(read_frame(&mut Cursor::new(b"\0\0\0\x05weft."), 4)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let error = block_on(read_frame(&mut Cursor::new(b"\xff\xff\xff\xff"), 1 << 20)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "a claim of 4 GiB allocates nothing");
    }

    #[test]
    fn a_cut_frame_is_an_end_of_file() {
        for cut in 0..8 {
            let error = block_on(read_frame(&mut Cursor::new(&b"\0\0\0\x04weft"[..cut]), 4)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "after {cut} bytes");
        }
    }
}
