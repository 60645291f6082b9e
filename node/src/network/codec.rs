//! How requests and responses of members travel: one frame of canonical CBOR each.

use std::fmt;
use std::io;
use std::marker::PhantomData;

use futures::{AsyncRead, AsyncWrite};
use libp2p::StreamProtocol;
use libp2p::request_response;
use serde::Serialize;
use serde::de::DeserializeOwned;
use weft_protocol::limits::FRAME_BYTES_MAX;
use weft_protocol::{decode, encode};

use super::frame::{read_frame, write_frame};

/// Reads and writes the requests `Q` and responses `R` of one protocol.
pub(super) struct FrameCodec<Q, R> {
    types: PhantomData<fn() -> (Q, R)>,
}

impl<Q, R> Default for FrameCodec<Q, R> {
    fn default() -> Self {
        Self { types: PhantomData }
    }
}

impl<Q, R> Clone for FrameCodec<Q, R> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<Q, R> fmt::Debug for FrameCodec<Q, R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FrameCodec")
    }
}

impl<Q, R> request_response::Codec for FrameCodec<Q, R>
where
    Q: Serialize + DeserializeOwned + Send + Sync + 'static,
    R: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    type Protocol = StreamProtocol;
    type Request = Q;
    type Response = R;

    async fn read_request<T>(&mut self, _: &StreamProtocol, stream: &mut T) -> io::Result<Q>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(stream).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, stream: &mut T) -> io::Result<R>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(stream).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, stream: &mut T, request: Q) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(stream, &encode(&request), FRAME_BYTES_MAX).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, stream: &mut T, response: R) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(stream, &encode(&response), FRAME_BYTES_MAX).await
    }
}

async fn read<M, T>(stream: &mut T) -> io::Result<M>
where
    M: Serialize + DeserializeOwned,
    T: AsyncRead + Unpin + Send,
{
    let bytes = read_frame(stream, FRAME_BYTES_MAX).await?;
    decode(&bytes, FRAME_BYTES_MAX).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
