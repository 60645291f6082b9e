//! What reading found damaged, until somebody who can do something about it asks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::row::{Kind, split_numbered_key};
use crate::scrub::Damage;

/// Most that is kept (guess): a pass of the scrub finds what is beyond.
const NOTED_MAX: usize = 64;

/// What reads came upon.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Noted {
    /// Rows that are not what was written.
    pub finds: Vec<Damage>,
    /// What the last read that failed said, whether or not it is among these.
    pub failed: Option<String>,
}

/// Invariant: `any` is set exactly while something is noted.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    any: AtomicBool,
    noted: Mutex<Noted>,
}

impl Notes {
    /// A row of this kind that failed its check.
    pub(crate) fn row(&self, table: &'static str, kind: Kind, key: &[u8], reason: &str) {
        let (chain, number) = match kind {
            Kind::Group | Kind::Digest => split_numbered_key(key).ok().unzip(),
            _ => (None, None),
        };
        let commit = number.filter(|_| kind == Kind::Group);
        let damage = Damage { table, chain, commit, reason: reason.to_owned(), before: None };
        self.note(|noted| {
            if noted.finds.len() < NOTED_MAX && !noted.finds.contains(&damage) {
                noted.finds.push(damage);
            }
        });
    }

    /// A read that failed.
    pub(crate) fn failed(&self, reason: &str) {
        self.note(|noted| noted.failed = Some(reason.to_owned()));
    }

    fn note(&self, note: impl FnOnce(&mut Noted)) {
        note(&mut self.noted.lock().unwrap_or_else(PoisonError::into_inner));
        self.any.store(true, Ordering::Release);
    }

    /// What was noted since the last time; costs a look at one flag when that is nothing.
    pub(crate) fn take(&self) -> Option<Noted> {
        if !self.any.swap(false, Ordering::AcqRel) {
            return None;
        }
        Some(std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}
