//! The lock on the state of an engine.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, TryLockError};

use tokio::sync::Notify;

use super::sync::{Mutex, MutexGuard, lock};
use super::{State, room};
use crate::executor::locks::Lock;

/// Whoever has this has the state. When it is released, those are woken who wait for what was done meanwhile.
pub(super) struct Locked<'a> {
    // Dropped in this order.
    state: MutexGuard<'a, State>,
    _lock: Lock,
    woken: Woken,
}

impl<'a> Locked<'a> {
    pub(super) fn new(state: &'a Mutex<State>) -> Self {
        Self::of(lock(state))
    }

    /// `None` when another has it.
    #[inline]
    pub(super) fn try_new(state: &'a Mutex<State>) -> Option<Self> {
        match state.try_lock() {
            Ok(state) => Some(Self::of(state)),
            // Every critical section leaves the state whole.
            Err(TryLockError::Poisoned(poisoned)) => Some(Self::of(poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    #[inline]
    fn of(state: MutexGuard<'a, State>) -> Self {
        Self {
            state,
            _lock: Lock::taken(),
            woken: Woken(Vec::new()),
        }
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    #[inline]
    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.state.to_wake.is_empty() {
            self.woken.0 = std::mem::take(&mut self.state.to_wake);
        }
    }
}

/// Wakes them when it is dropped.
struct Woken(Vec<Arc<Notify>>);

impl Drop for Woken {
    #[inline]
    fn drop(&mut self) {
        if !self.0.is_empty() {
            self.0.drain(..).for_each(room::wake);
        }
    }
}
