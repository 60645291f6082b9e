//! Counts the bytes between whoever comes and the node behind it, in each direction.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::super::cluster::PATIENCE;

/// One connection through a door of its own.
pub(super) struct Relay {
    /// Where to dial instead.
    pub(super) address: String,
    counted: oneshot::Receiver<(u64, u64)>,
}

impl Relay {
    /// Lets one connection through to the port of this address.
    pub(super) async fn to(address: &str) -> Self {
        let port: u16 = address.rsplit('/').next().unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
        let (count, counted) = oneshot::channel();
        tokio::spawn(async move {
            let (mut outside, _) = listener.accept().await.unwrap();
            let mut inside = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            outside.set_nodelay(true).unwrap();
            inside.set_nodelay(true).unwrap();
            let both = copy_bidirectional(&mut outside, &mut inside).await;
            let _case_is_over = count.send(both.unwrap_or_default());
        });
        Self { address, counted }
    }

    /// What went to the one that listens and what came from it, once the connection is over. A connection that was reset is
    /// not counted.
    pub(super) async fn bytes(self) -> (u64, u64) {
        timeout(PATIENCE, self.counted).await.expect("the connection ends").unwrap_or_default()
    }
}
