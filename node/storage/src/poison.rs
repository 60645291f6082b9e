//! After the first failed write nothing more is written: a failed sync leaves pages that a later one would call clean.

use std::sync::{Mutex, PoisonError};

use crate::error::StoreError;

/// The first failure, once there was one.
#[derive(Debug, Default)]
pub(crate) struct Poison(Mutex<Option<String>>);

impl Poison {
    /// Refuses when something failed before.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(reason) => Err(StoreError::Poisoned { reason: reason.clone() }),
        }
    }

    /// Remembers that something failed; the first reason stays.
    pub(crate) fn set(&self, reason: &str) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| reason.to_owned());
    }
}
