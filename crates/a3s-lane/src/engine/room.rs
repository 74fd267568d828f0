//! Room in a lane whose pending commands are limited, and who waits for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;

use super::sync::{AtomicUsize, Mutex, lock};

/// Shared by a lane and those who wait to submit to it. They are served in the order in which they came: only the first
/// in line may enter, and it keeps its place until it does or gives up.
#[derive(Debug, Default)]
pub(super) struct Room {
    line: Mutex<VecDeque<Arc<Notify>>>,
    /// The length of the line, to be seen without its lock.
    waiting: AtomicUsize,
    /// Accepted commands that a storage takes down before they enter.
    promised: AtomicUsize,
}

impl Room {
    pub(super) fn has_waiters(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    pub(super) fn promised(&self) -> usize {
        self.promised.load(Ordering::SeqCst)
    }

    pub(super) fn promise(&self) {
        self.promised.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn keep_promise(&self) {
        self.promised.fetch_sub(1, Ordering::SeqCst);
    }

    /// There may be room now, or there will never be: the first in line must look. Whoever leaves the line makes the next
    /// one look.
    pub(super) fn freed(&self) {
        if self.has_waiters() {
            wake_first(&lock(&self.line));
        }
    }

    /// Joins those who wait. Look for room only after that, so that none is missed.
    pub(super) fn join(self: &Arc<Self>) -> WaitForRoom {
        let own = Arc::new(Notify::new());
        let mut line = lock(&self.line);
        line.push_back(Arc::clone(&own));
        self.waiting.store(line.len(), Ordering::SeqCst);
        if line.len() == 1 {
            own.notify_one();
        }
        drop(line);
        let room = Arc::clone(self);
        WaitForRoom { room, own }
    }
}

fn wake_first(line: &VecDeque<Arc<Notify>>) {
    if let Some(first) = line.front() {
        first.notify_one();
    }
}

/// A place among those who wait.
pub(super) struct WaitForRoom {
    room: Arc<Room>,
    own: Arc<Notify>,
}

impl WaitForRoom {
    /// Waits until this one is the first in line and there is a reason to look. Reasons that came while it did not
    /// listen count.
    pub(super) async fn wait(&self) {
        self.own.notified().await;
    }

    /// Leaves the line for that of the lane which has taken the place of a removed one: nobody calls the old line any more.
    pub(super) fn stay_with(&mut self, room: &Arc<Room>) {
        if !Arc::ptr_eq(&self.room, room) {
            *self = room.join();
        }
    }
}

impl Drop for WaitForRoom {
    fn drop(&mut self) {
        let mut line = lock(&self.room.line);
        let place = line.iter().position(|other| Arc::ptr_eq(other, &self.own));
        if let Some(place) = place {
            line.remove(place);
        }
        self.room.waiting.store(line.len(), Ordering::SeqCst);
        if place == Some(0) {
            wake_first(&line);
        }
    }
}
