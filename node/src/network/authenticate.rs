//! `/weft/auth/1` on the first substream of a connection, before anything else may use it.
//!
//! Both sides begin with the protocol's name and the number of their run; then the frames of the handshake follow, which
//! another crate decides about. Time and sizes are limited here.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::PeerId;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt as _, SubstreamBox};
use tokio::time::timeout;
use weft_discovery::{Handshake, HandshakeOutcome, Step};
use weft_protocol::limits::{ADMISSION_FRAME_BYTES_MAX, AUTH_US_MAX};
use weft_protocol::{Admission, AuthFrame, AuthRefusal, InviteId, Join, PublicKeys, decode, encode};

use super::frame::{read_frame, write_frame};
use super::links::Run;
use super::offers::Offer;
use super::watched::{self, WATCH};
use crate::clock;

pub(super) const PREFACE: &[u8; 13] = b"/weft/auth/1\n";
/// The number of a run behind it.
pub(super) const RUN_BYTES: usize = size_of::<Run>();

/// How long a refused side may take to read why (guess: a round trip of the slowest link).
const LAST_WORD_TIME_MAX: Duration = Duration::from_millis(500);

/// Which end of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Dialer,
    Listener,
}

/// What the other side may do in a handshake.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Longest frame.
    pub(super) frame_bytes_max: usize,
    /// Whether it may keep the connection to see it end: a member, by the key of the transport.
    pub(super) may_be_watched: bool,
}

/// Why a connection did not come to be.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuthFailure {
    /// The other side let us in not.
    #[error("refused by that node: {0}; {next}", next = .0.next())]
    RefusedUs(AuthRefusal),
    /// The other side does not speak the version of the wire that it was offered.
    #[error("that node speaks at most version {theirs} of the wire, not {}", .offer.wire)]
    OlderWire {
        /// What it was offered.
        offer: Offer,
        /// Its newest.
        theirs: u16,
        /// Which run of it.
        run: Run,
    },
    /// Another address of the same node was refused a version of the wire, and it is dialled anew with another one.
    #[error("that node is dialled anew, in an older version of the wire")]
    DialledAnew,
    /// What was offered is meant for an earlier run of the node that answers.
    #[error("that node was started again")]
    OtherRun,
    /// We let the other side in not.
    #[error("refused by this node: {0}; {next}", next = .0.next())]
    RefusedThem(AuthRefusal),
    /// A joiner was admitted; it comes back as a member.
    #[error("admitted; it comes back as a member")]
    Admitted,
    /// Another node than the one that was dialled.
    #[error("another node answers there: {found}")]
    OtherNode {
        /// Which.
        found: PeerId,
    },
    /// A connection that is kept for nothing but its end.
    #[error("kept to see it end")]
    Watched,
    /// A key that is not Ed25519.
    #[error("the key of the node there is not an Ed25519 key")]
    UnknownKey,
    /// Two seconds passed.
    #[error("the handshake took longer than {} s", AUTH_US_MAX / 1_000_000)]
    TimedOut,
    /// The node ends, or does not want this connection any more.
    #[error("this node does not take connections any more")]
    Closing,
    /// No random bytes.
    #[error("the operating system gave no random bytes: {0}")]
    Entropy(getrandom::Error),
    /// The connection broke.
    #[error("the connection was lost during the handshake: {0}")]
    Lost(#[from] io::Error),
}

/// Runs one handshake on the first substream of `muxer`, in at most two seconds, and returns what it proved and the other
/// side's run. A dialer says what it offers; `ask` is called for a joiner, at the listener alone.
///
/// # Errors
/// [`AuthFailure`]; the other side was told a refusal of ours and had time to read it.
pub(super) async fn exchange(
    muxer: &mut StreamMuxerBox,
    side: Side,
    handshake: Handshake,
    run: Run,
    offer: Option<Offer>,
    bounds: Bounds,
    ask: impl AsyncFnOnce(PublicKeys, InviteId, Join) -> Result<Admission, AuthRefusal>,
) -> Result<(HandshakeOutcome, Run), AuthFailure> {
    let limited = async {
        let mut stream = open(muxer, side).await?;
        let talk = async {
            let result = converse(&mut stream, handshake, run, offer, bounds, ask).await;
            let _already_closed = stream.close().await;
            // Whoever has the last word on this connection waits until it was heard.
            let last_word = match &result {
                Err(AuthFailure::RefusedThem(_)) => true,
                Ok((HandshakeOutcome::Admitted(_), _)) => side == Side::Listener,
                Ok((HandshakeOutcome::Member { .. }, _)) | Err(_) => false,
            };
            if last_word {
                let _other_side_is_gone = timeout(LAST_WORD_TIME_MAX, drain(&mut stream)).await;
            }
            result
        };
        driving(muxer, talk).await?
    };
    timeout(Duration::from_micros(AUTH_US_MAX), limited).await.map_err(|_| AuthFailure::TimedOut)?
}

async fn converse(
    stream: &mut SubstreamBox,
    mut handshake: Handshake,
    run: Run,
    offer: Option<Offer>,
    bounds: Bounds,
    ask: impl AsyncFnOnce(PublicKeys, InviteId, Join) -> Result<Admission, AuthRefusal>,
) -> Result<(HandshakeOutcome, Run), AuthFailure> {
    stream.write_all(PREFACE).await?;
    stream.write_all(&run.to_be_bytes()).await?;
    send(stream, &handshake.start()).await?;
    stream.flush().await?;

    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).await?;
    let frame_bytes_max = bounds.frame_bytes_max;
    if preface == *WATCH && bounds.may_be_watched {
        watched::agree(stream).await?;
        return Err(AuthFailure::Watched);
    }
    if preface != *PREFACE {
        return refuse(stream, AuthRefusal::OtherProtocol).await;
    }
    let mut their_run = [0; RUN_BYTES];
    stream.read_exact(&mut their_run).await?;
    let their_run = Run::from_be_bytes(their_run);
    if offer.is_some_and(|offer| offer.run.is_some_and(|run| run != their_run)) {
        return Err(AuthFailure::OtherRun);
    }

    let mut ask = Some(ask);
    loop {
        let bytes = match read_frame(stream, frame_bytes_max).await {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return refuse(stream, AuthRefusal::FrameTooLarge { max: frame_bytes_max as u64 }).await;
            }
            read => read?,
        };
        let Ok(frame) = decode::<AuthFrame>(&bytes, frame_bytes_max) else {
            return refuse(stream, AuthRefusal::UnreadableFrame).await;
        };
        let mut step = handshake.frame_arrived(frame, clock::wall());
        if let Step::Ask { keys, invite, join } = step {
            let decision = match ask.take() {
                Some(ask) => ask(keys, invite, join).await,
                None => Err(AuthRefusal::Protocol),
            };
            step = handshake.admission_decided(decision);
        }
        match step {
            Step::Send(frames) => send(stream, &frames).await?,
            Step::Done { send: frames, outcome } => {
                send(stream, &frames).await?;
                return Ok((outcome, their_run));
            }
            Step::Refuse { send: frame, error } => {
                send(stream, &[frame]).await?;
                return Err(AuthFailure::RefusedThem(error));
            }
            Step::Refused(refusal) => return Err(refused_by(refusal, offer, their_run)),
            Step::Ask { .. } => return refuse(stream, AuthRefusal::Protocol).await,
        }
    }
}

/// What a refusal of the other side's means to whoever offered this.
fn refused_by(refusal: AuthRefusal, offer: Option<Offer>, run: Run) -> AuthFailure {
    match (refusal, offer) {
        (AuthRefusal::WireVersion { ours: theirs, theirs: _ }, Some(offer)) => {
            AuthFailure::OlderWire { offer, theirs, run }
        }
        (refusal, _) => AuthFailure::RefusedUs(refusal),
    }
}

async fn refuse<T>(stream: &mut SubstreamBox, refusal: AuthRefusal) -> Result<T, AuthFailure> {
    send(stream, &[AuthFrame::Refused(refusal.clone())]).await?;
    Err(AuthFailure::RefusedThem(refusal))
}

async fn send(stream: &mut SubstreamBox, frames: &[AuthFrame]) -> Result<(), AuthFailure> {
    for frame in frames {
        write_frame(stream, &encode(frame), ADMISSION_FRAME_BYTES_MAX).await?;
    }
    Ok(())
}

/// Reads what is left until the other side closes.
async fn drain(stream: &mut SubstreamBox) {
    let mut left = [0; 1024];
    while stream.read(&mut left).await.is_ok_and(|count| count > 0) {}
}

/// The first substream: opened by the dialer, accepted by the listener.
pub(super) async fn open(muxer: &mut StreamMuxerBox, side: Side) -> io::Result<SubstreamBox> {
    poll_fn(|context| {
        let opened = match side {
            Side::Dialer => muxer.poll_outbound_unpin(context),
            Side::Listener => muxer.poll_inbound_unpin(context),
        };
        match (opened, side) {
            (Poll::Ready(opened), _) => Poll::Ready(opened),
            (Poll::Pending, Side::Listener) => Poll::Pending,
            (Poll::Pending, Side::Dialer) => match muxer.poll_unpin(context) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
            },
        }
    })
    .await
}

/// Runs `future` while the muxer moves its bytes.
pub(super) async fn driving<F: Future>(muxer: &mut StreamMuxerBox, future: F) -> io::Result<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        match muxer.poll_unpin(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(_address_changed)) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            // What came before the end may be all that is needed.
            Poll::Ready(Err(error)) => match future.as_mut().poll(context) {
                Poll::Ready(output) => Poll::Ready(Ok(output)),
                Poll::Pending => Poll::Ready(Err(error)),
            },
        }
    })
    .await
}
