//! What signatures cost: both against one of them, and those of whole commits against signing each event twice.

use std::hint::black_box;

use tokio::time::Instant;
use weft_protocol::{COMMIT_LABEL, ChainState, Digest, KeyPair, Signer as _, hash};

use super::{Figure, micros};

const ROUNDS: u32 = 2_000;

/// Mean times in microseconds. Means, because ML-DSA-65 signs by trial.
pub(super) struct Costs {
    pub(super) ed25519_sign_us: f64,
    mldsa65_sign_us: f64,
    ed25519_verify_us: f64,
    dual_verify_us: f64,
}

/// Measures them, by turns, so that what else runs touches all alike.
pub(super) fn measure() -> Costs {
    let keys = KeyPair::generate([7; 32]);
    let public = keys.public_keys();
    let mut costs = Costs { ed25519_sign_us: 0.0, mldsa65_sign_us: 0.0, ed25519_verify_us: 0.0, dual_verify_us: 0.0 };
    for round in 0..ROUNDS {
        let digest = hash("bench", &[&round.to_be_bytes()]);
        costs.ed25519_sign_us += mean_us(|| keys.sign_ed25519(COMMIT_LABEL, &digest));
        costs.mldsa65_sign_us += mean_us(|| keys.sign_mldsa65(COMMIT_LABEL, &digest));
        let signature = keys.sign(COMMIT_LABEL, &digest);
        let checked: &Digest = black_box(&digest);
        costs.ed25519_verify_us += mean_us(|| public.verify_ed25519(COMMIT_LABEL, checked, &signature.ed25519));
        costs.dual_verify_us += mean_us(|| signature.verify(public, COMMIT_LABEL, checked));
    }
    costs
}

fn mean_us<T>(once: impl FnOnce() -> T) -> f64 {
    let begin = Instant::now();
    let _computed = black_box(once());
    micros(begin) / f64::from(ROUNDS)
}

impl Costs {
    /// Both signatures against one, and what those of the commits between two states of a chain cost each of its events.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people; counts of a run fit a double")]
    pub(super) fn figures(&self, before: &ChainState, after: &ChainState) -> [Figure; 2] {
        let commits = (after.commits() - before.commits()) as f64;
        let checkpoints = (after.checkpoints() - before.checkpoints()) as f64;
        let events = (after.size() - before.size()) as f64;
        let an_event_us = (commits * self.ed25519_sign_us + checkpoints * self.mldsa65_sign_us) / events;
        let twice_us = self.ed25519_sign_us + self.mldsa65_sign_us;
        [
            Figure::new(
                "dual_verify_us",
                "µs",
                self.dual_verify_us,
                "one Ed25519 verification",
                self.ed25519_verify_us,
            ),
            Figure::new("signatures_per_event_us", "µs", an_event_us, "signing each event twice", twice_us),
        ]
    }
}
