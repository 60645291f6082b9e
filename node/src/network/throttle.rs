//! Takes in new connections of a transport no faster than the node can afford: what comes beyond waits where it costs nothing yet.
//!
//! libp2p's QUIC computes the key exchange of whoever comes as soon as it is asked whether somebody came, before any behaviour may
//! refuse. So it is not asked more often than that.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::core::Transport;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use tokio::time::{Sleep, sleep};
use weft_peer::{Bucket, Rate};

use crate::clock;

/// A transport whose listeners are asked only when there is room.
#[derive(Debug)]
pub(super) struct Throttled<T> {
    inner: T,
    rate: Rate,
    arrivals: Bucket,
    /// Runs while there is no room.
    pause: Option<Pin<Box<Sleep>>>,
}

impl<T> Throttled<T> {
    /// Lets in so many.
    pub(super) fn new(inner: T, rate: Rate) -> Self {
        Self { inner, rate, arrivals: Bucket::new(rate, clock::wall()), pause: None }
    }
}

impl<T: Transport + Unpin> Transport for Throttled<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<T::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<T::Dial, TransportError<T::Error>> {
        self.inner.dial(address, options)
    }

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<TransportEvent<T::ListenerUpgrade, T::Error>> {
        let this = &mut *self;
        loop {
            if let Some(pause) = &mut this.pause {
                std::task::ready!(pause.as_mut().poll(context));
                this.pause = None;
            }
            match this.arrivals.wait_us(this.rate, 1, clock::wall()) {
                0 => break,
                wait_us => this.pause = Some(Box::pin(sleep(Duration::from_micros(wait_us)))),
            }
        }
        let event = std::task::ready!(Pin::new(&mut this.inner).poll(context));
        if matches!(event, TransportEvent::Incoming { .. }) {
            let _there_is_room = this.arrivals.take(this.rate, 1, clock::wall());
        }
        Poll::Ready(event)
    }
}
