//! Waiting until the node has handled something, instead of looking again and again.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use weft_protocol::Refusal;

use super::failure::Failure;

/// Least time between two looks of one reader, so that one who waits costs a busy node little (guess).
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Wakes one reader.
#[derive(Debug)]
pub(super) struct Changes {
    passed: watch::Receiver<u64>,
    looked: Instant,
}

impl Changes {
    /// Knows of everything that was handled so far: look once after this, then wait.
    pub(super) fn new(mut passed: watch::Receiver<u64>) -> Self {
        passed.mark_unchanged();
        Self { passed, looked: Instant::now() }
    }

    /// Waits until something was handled since the last return.
    ///
    /// # Errors
    /// The node has ended.
    pub(super) async fn next(&mut self) -> Result<(), Failure> {
        let ended = |_| Failure::from(Refusal::ShuttingDown);
        self.passed.changed().await.map_err(ended)?;
        tokio::time::sleep_until(self.looked + BETWEEN_LOOKS).await;
        // What was handled while it waited will be seen by the look that follows.
        self.passed.mark_unchanged();
        self.looked = Instant::now();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_is_woken_once_for_all_that_was_handled_and_at_the_end() {
        let (passes, passed) = watch::channel(0_u64);
        passes.send_modify(|passes| *passes += 1);
        let mut changes = Changes::new(passed);
        let still = futures::poll!(std::pin::pin!(changes.next()));
        assert!(still.is_pending(), "it looks once by itself before it waits");
        for _ in 0..3 {
            passes.send_modify(|passes| *passes += 1);
        }
        assert_eq!(changes.next().await, Ok(()));
        let still = futures::poll!(std::pin::pin!(changes.next()));
        assert!(still.is_pending(), "nothing more was handled");
        drop(passes);
        assert_eq!(changes.next().await, Err(Refusal::ShuttingDown.into()));
    }
}
