//! The locks that all engines share, taken by who copies the process.

use std::collections::HashSet;
use std::sync::MutexGuard;

use super::reserved::{Reserved, reserved};
use super::restore::{Owners, owners};

pub(crate) struct Held {
    _reserved: MutexGuard<'static, HashSet<Reserved>>,
    _owners: MutexGuard<'static, Owners>,
}

pub(crate) fn hold() -> Held {
    // In this order: who has the owners may wait for the lock of an engine, under which ids are reserved.
    let owners = owners();
    Held {
        _reserved: reserved(),
        _owners: owners,
    }
}
