//! The number of the socket at one end of a connection: one exact question to the kernel, see `sock_diag(7)`.

use std::io;
use std::net::SocketAddrV4;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

/// What kind of question it is: `SOCK_DIAG_BY_FAMILY`, asked by a request.
const QUESTION: [u16; 2] = [20, 1];
/// The kind of an answer that is an error number: `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// Bytes before what is asked or answered: `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// Bytes of what is asked: `struct inet_diag_req_v2`.
const ASKED_BYTES: usize = 56;
/// Where the socket's number stands in an answer: `idiag_inode` of `struct inet_diag_msg`.
const NUMBER_AT: usize = HEADER_BYTES + 68;
/// More than one answer.
const ANSWER_BYTES_MAX: usize = 512;
/// That there is no such socket: `ENOENT`.
const NO_SOCKET: i32 = 2;

/// What connections are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Connections of TCP: both ends name one.
    Tcp,
    /// Datagrams: whoever would get those from the other end.
    Udp,
}

impl Kind {
    /// Its number among those of IP, and which end the kernel calls the first.
    const fn asked(self, at: SocketAddrV4, other: SocketAddrV4) -> (u8, [SocketAddrV4; 2]) {
        match self {
            Self::Tcp => (6, [at, other]),
            Self::Udp => (17, [other, at]),
        }
    }
}

/// The number of the socket at `at` that talks with `other`; none when it is gone, or was closed by its process.
///
/// # Errors
/// When the kernel does not answer such questions.
pub(super) fn socket_number(kind: Kind, at: SocketAddrV4, other: SocketAddrV4) -> io::Result<Option<u64>> {
    let (family, door) = (AddressFamily::NETLINK, netlink::SOCK_DIAG);
    // One for each question, so that no late answer is taken for another's.
    let kernel = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(door))?;
    send(&kernel, &question(kind, at, other), SendFlags::empty())?;
    let mut answer = [0; ANSWER_BYTES_MAX];
    // It is there as soon as the question was sent.
    let (length, _) = recv(&kernel, &mut answer, RecvFlags::DONTWAIT)?;
    read(answer.get(..length).unwrap_or_default())
}

fn question(kind: Kind, at: SocketAddrV4, other: SocketAddrV4) -> [u8; HEADER_BYTES + ASKED_BYTES] {
    let (protocol, [first, second]) = kind.asked(at, other);
    let mut bytes = [0; HEADER_BYTES + ASKED_BYTES];
    let length = bytes.len() as u32;
    let mut put = |from: usize, field: &[u8]| bytes[from..from + field.len()].copy_from_slice(field);
    put(0, &length.to_ne_bytes());
    QUESTION.iter().zip([4, 6]).for_each(|(word, from)| put(from, &word.to_ne_bytes()));
    // IPv4; in any state; and no cookie.
    put(HEADER_BYTES, &[2, protocol]);
    put(HEADER_BYTES + 4, &[0xff; 4]);
    put(HEADER_BYTES + 8, &first.port().to_be_bytes());
    put(HEADER_BYTES + 10, &second.port().to_be_bytes());
    put(HEADER_BYTES + 12, &first.ip().octets());
    put(HEADER_BYTES + 28, &second.ip().octets());
    put(HEADER_BYTES + 48, &[0xff; 8]);
    bytes
}

fn read(answer: &[u8]) -> io::Result<Option<u64>> {
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let word = |from: usize| answer.get(from..from + 4).and_then(|word| <[u8; 4]>::try_from(word).ok());
    let kind = answer.get(4..6).and_then(|kind| <[u8; 2]>::try_from(kind).ok()).ok_or_else(short)?;
    if u16::from_ne_bytes(kind) == ERROR {
        let error = i32::from_ne_bytes(word(HEADER_BYTES).ok_or_else(short)?).saturating_neg();
        return if error == NO_SOCKET { Ok(None) } else { Err(io::Error::from_raw_os_error(error)) };
    }
    let number = u32::from_ne_bytes(word(NUMBER_AT).ok_or_else(short)?);
    // An end of a connection that waits without an owner has none.
    Ok((number != 0).then_some(number.into()))
}
