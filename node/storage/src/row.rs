//! The bytes of one stored row: a magic, a kind, a key, a body and a check over all, so that it can be found and believed
//! outside of the database too.

use weft_protocol::{ChainId, Commit, CommitGroup, Digest, SignedCommit, content_address_of};

/// Random bytes of one store, mixed into each check: what a message contains cannot pose as a row.
pub(crate) type Salt = [u8; 16];

/// How each row begins.
pub(crate) const ROW_MAGIC: [u8; 8] = *b"\xf7weftrow";
/// Magic, kind, two lengths and the check.
pub(crate) const ROW_HEADER_BYTES: usize = 8 + 1 + 1 + 4 + 16;
/// Longest body a reader believes, in bytes: far above the largest group (256 KiB) and the largest digest.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Kind {
    Group = 1,
    Digest = 2,
    Outbox = 3,
    Evidence = 4,
    Addresses = 5,
    State = 6,
    Body = 7,
    Topic = 8,
    DeadLetter = 9,
    Cut = 10,
}

impl Kind {
    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Group,
            2 => Self::Digest,
            3 => Self::Outbox,
            4 => Self::Evidence,
            5 => Self::Addresses,
            6 => Self::State,
            7 => Self::Body,
            8 => Self::Topic,
            9 => Self::DeadLetter,
            10 => Self::Cut,
            _ => return None,
        })
    }
}

/// The bytes are not a row, or not the expected one, or not as they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a row fails its check: {0}")]
pub(crate) struct BadRow(pub(crate) &'static str);

/// A row as found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) kind: Kind,
    pub(crate) key: &'a [u8],
    pub(crate) body: &'a [u8],
}

fn check(salt: &Salt, kind: u8, key: &[u8], body: &[u8]) -> [u8; 16] {
    let key_bytes = [u8::try_from(key.len()).unwrap_or(u8::MAX)];
    let body_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    short_check(&[salt, &[kind], &key_bytes, &body_bytes, key, body])
}

/// The first 16 bytes of a BLAKE3 hash over these parts, one after another.
pub(crate) fn short_check(parts: &[&[u8]]) -> [u8; 16] {
    let digest = content_address_of(parts);
    let (short, _) = digest.as_bytes().split_at(16);
    short.try_into().expect("BUG: 16 of 32 bytes")
}

/// The row of these bytes.
///
/// # Panics
/// When the key is longer than 255 bytes or the body than [`BODY_BYTES_MAX`]: a bug.
pub(crate) fn write(salt: &Salt, kind: Kind, key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut row = Vec::new();
    append(&mut row, salt, kind, key, body);
    row
}

/// The same, behind what is there.
pub(crate) fn append(row: &mut Vec<u8>, salt: &Salt, kind: Kind, key: &[u8], body: &[u8]) {
    assert!(body.len() <= BODY_BYTES_MAX, "BUG: a row of {} bytes", body.len());
    row.reserve(ROW_HEADER_BYTES + key.len() + body.len());
    row.extend_from_slice(&ROW_MAGIC);
    row.push(kind as u8);
    row.push(u8::try_from(key.len()).expect("BUG: a key of more than 255 bytes"));
    row.extend_from_slice(&u32::try_from(body.len()).expect("BUG: bounded above").to_be_bytes());
    row.extend_from_slice(&check(salt, kind as u8, key, body));
    row.extend_from_slice(key);
    row.extend_from_slice(body);
}

/// How many bytes the row that begins here claims to have; `None` when no row begins here.
pub(crate) fn claimed_bytes(header: &[u8]) -> Option<usize> {
    let header = header.get(..ROW_HEADER_BYTES)?;
    let body = u32::from_be_bytes(header[10..14].try_into().ok()?) as usize;
    let claims = header.starts_with(&ROW_MAGIC) && Kind::from_byte(header[8]).is_some() && body <= BODY_BYTES_MAX;
    claims.then(|| ROW_HEADER_BYTES + usize::from(header[9]) + body)
}

/// The row that is exactly these bytes.
pub(crate) fn read<'a>(salt: &Salt, bytes: &'a [u8]) -> Result<Row<'a>, BadRow> {
    if claimed_bytes(bytes) != Some(bytes.len()) {
        return Err(BadRow("not a row, or cut"));
    }
    let kind = Kind::from_byte(bytes[8]).ok_or(BadRow("unknown kind"))?;
    let (key, body) = bytes[ROW_HEADER_BYTES..].split_at(usize::from(bytes[9]));
    if check(salt, bytes[8], key, body) != bytes[14..ROW_HEADER_BYTES] {
        return Err(BadRow("its bytes were changed"));
    }
    Ok(Row { kind, key, body })
}

/// The body of the row stored under `key`.
pub(crate) fn body<'a>(salt: &Salt, kind: Kind, key: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], BadRow> {
    let row = read(salt, bytes)?;
    if row.kind == kind && row.key == key { Ok(row.body) } else { Err(BadRow("it is stored in another row's place")) }
}

/// The key of a group, or of a digest: a chain and a number.
pub(crate) fn numbered_key(chain: ChainId, number: u64) -> [u8; 48] {
    let mut key = [0; 48];
    key[..40].copy_from_slice(&chain.to_bytes());
    key[40..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The chain and the number of such a key.
pub(crate) fn split_numbered_key(key: &[u8]) -> Result<(ChainId, u64), BadRow> {
    let key: &[u8; 48] = key.try_into().map_err(|_| BadRow("a key of the wrong length"))?;
    let (chain, number) = key.split_at(40);
    let chain = ChainId::from_bytes(chain.try_into().map_err(|_| BadRow("a key of the wrong length"))?);
    Ok((chain, u64::from_be_bytes(number.try_into().map_err(|_| BadRow("a key of the wrong length"))?)))
}

/// The body of a group's row.
pub(crate) fn write_group(generation: u64, first_seq: u64, group: &CommitGroup) -> Vec<u8> {
    let mut body = Vec::with_capacity(group.size() + 40 + 4 * group.events.len());
    let frame = |body: &mut Vec<u8>, bytes: &[u8]| {
        body.extend_from_slice(&u32::try_from(bytes.len()).expect("BUG: a part of a group over 4 GiB").to_be_bytes());
        body.extend_from_slice(bytes);
    };
    body.extend_from_slice(&generation.to_be_bytes());
    body.extend_from_slice(&first_seq.to_be_bytes());
    body.extend_from_slice(&u32::try_from(group.events.len()).expect("BUG: too many events").to_be_bytes());
    body.push(u8::from(group.signed.is_checkpoint()));
    frame(&mut body, &group.signed.commit);
    body.extend_from_slice(group.signed.ed25519.as_slice());
    frame(&mut body, group.signed.mldsa65.as_deref().map_or(&[][..], |signature| signature));
    for event in &group.events {
        frame(&mut body, event);
    }
    body
}

/// A view of a group's body; parts are found, not yet decoded.
#[derive(Debug, Clone)]
pub(crate) struct GroupView<'a> {
    /// The transaction that wrote it.
    pub(crate) generation: u64,
    pub(crate) first_seq: u64,
    pub(crate) count: u64,
    pub(crate) checkpoint: bool,
    commit: &'a [u8],
    ed25519: [u8; 64],
    mldsa65: &'a [u8],
    events: &'a [u8],
}

impl<'a> GroupView<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, BadRow> {
        let mut rest = body;
        let generation = u64::from_be_bytes(take(&mut rest)?);
        let first_seq = u64::from_be_bytes(take(&mut rest)?);
        let count = u64::from(u32::from_be_bytes(take(&mut rest)?));
        let [checkpoint] = take(&mut rest)?;
        let commit = take_frame(&mut rest)?;
        let ed25519 = take(&mut rest)?;
        let mldsa65 = take_frame(&mut rest)?;
        Ok(Self { generation, first_seq, count, checkpoint: checkpoint != 0, commit, ed25519, mldsa65, events: rest })
    }

    pub(crate) fn signed(&self) -> SignedCommit {
        SignedCommit {
            commit: self.commit.to_vec().into(),
            ed25519: self.ed25519.into(),
            mldsa65: self.checkpoint.then(|| self.mldsa65.to_vec().into()),
        }
    }

    /// The events' bytes, in order.
    pub(crate) fn events(&self) -> impl Iterator<Item = Result<&'a [u8], BadRow>> + use<'a> {
        let mut rest = self.events;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let event = take_frame(&mut rest);
            if event.is_err() {
                rest = &[];
            }
            Some(event)
        })
    }

    pub(crate) fn group(&self) -> Result<CommitGroup, BadRow> {
        let events = self.events().map(|event| event.map(|bytes| bytes.to_vec().into())).collect::<Result<_, _>>()?;
        Ok(CommitGroup { signed: self.signed(), events })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], BadRow> {
    let (part, left) = rest.split_first_chunk::<N>().ok_or(BadRow("a group that ends early"))?;
    *rest = left;
    Ok(*part)
}

fn take_frame<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], BadRow> {
    let length = u32::from_be_bytes(take(rest)?) as usize;
    let (part, left) = rest.split_at_checked(length).ok_or(BadRow("a group that ends early"))?;
    *rest = left;
    Ok(part)
}

/// Where a stored chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredHead {
    /// The transaction that moved it here.
    pub(crate) generation: u64,
    /// Commits held.
    pub(crate) commits: u64,
    /// Events held.
    pub(crate) size: u64,
    /// Hash of the last commit.
    pub(crate) last_commit: Digest,
}

impl StoredHead {
    pub(crate) const fn after(generation: u64, commit: &Commit, hash: Digest) -> Self {
        Self { generation, commits: commit.commit_no + 1, size: commit.tree_size, last_commit: hash }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let numbers = [self.generation, self.commits, self.size].map(u64::to_be_bytes);
        [numbers.as_flattened(), self.last_commit.as_bytes()].concat()
    }

    pub(crate) fn parse(body: &[u8]) -> Result<Self, BadRow> {
        let mut rest = body;
        let generation = u64::from_be_bytes(take(&mut rest)?);
        let commits = u64::from_be_bytes(take(&mut rest)?);
        let size = u64::from_be_bytes(take(&mut rest)?);
        Ok(Self { generation, commits, size, last_commit: Digest::from_bytes(take(&mut rest)?) })
    }
}

/// Keys of the table `state`.
pub(crate) const GENERATION_KEY: &[u8] = b"g";
/// See [`GENERATION_KEY`].
pub(crate) const RESERVED_KEY: &[u8] = b"r";

/// See [`GENERATION_KEY`].
pub(crate) fn head_key(chain: ChainId) -> [u8; 41] {
    let mut key = [b'h'; 41];
    key[1..].copy_from_slice(&chain.to_bytes());
    key
}

/// The chain of such a key; `None` for the other keys of that table.
pub(crate) fn split_head_key(key: &[u8]) -> Option<ChainId> {
    let chain: &[u8; 40] = key.strip_prefix(b"h")?.try_into().ok()?;
    Some(ChainId::from_bytes(chain))
}

/// The number in the body of the generation's row.
pub(crate) fn parse_number(body: &[u8]) -> Result<u64, BadRow> {
    body.try_into().map(u64::from_be_bytes).map_err(|_| BadRow("a number of the wrong length"))
}
