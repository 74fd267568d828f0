//! Room in a lane whose pending commands are limited, and who waits for it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;

use super::attempt::guarded;
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
    /// one look. Not under a lock of the engine: see [`first`](Self::first).
    pub(super) fn freed(&self) {
        if let Some(first) = self.first() {
            wake(first);
        }
    }

    /// The first in line, to be woken once no lock is held.
    #[inline]
    pub(super) fn first(&self) -> Option<Arc<Notify>> {
        match self.has_waiters() {
            true => lock(&self.line).front().cloned(),
            false => None,
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

thread_local! {
    /// Whom this thread wakes after the one that it is waking now.
    static NEXT: RefCell<Option<VecDeque<Arc<Notify>>>> = const { RefCell::new(None) };
}

/// Wakes one who waits. An executor may drop what it is woken for, as one that is closed does. Then the next in line is woken, after
/// this one and not within it: the line may be longer than a stack is deep.
pub(super) fn wake(one: Arc<Notify>) {
    let pushed = NEXT.try_with(|next| {
        let mut next = next.borrow_mut();
        let is_nested = next.is_some();
        next.get_or_insert_default().push_back(Arc::clone(&one));
        is_nested
    });
    match pushed {
        Ok(true) => {}
        Ok(false) => {
            let _rest = Rest;
            while let Some(one) = take_next() {
                notify(&one);
            }
        }
        // The thread ends.
        Err(_) => notify(&one),
    }
}

/// Whoever is left after a panic, as of what logs: the thread wakes others later.
struct Rest;

impl Drop for Rest {
    fn drop(&mut self) {
        while let Some(one) = take_next() {
            let _logged = guarded(|| one.notify_one());
        }
    }
}

/// The next one whom this thread wakes; without one it has woken them all.
fn take_next() -> Option<Arc<Notify>> {
    NEXT.with_borrow_mut(|next| {
        let one = next.as_mut().and_then(VecDeque::pop_front);
        if one.is_none() {
            *next = None;
        }
        one
    })
}

fn notify(one: &Notify) {
    if let Err(panic) = guarded(|| one.notify_one()) {
        // Others are woken after this one.
        tracing::error!(%panic, "the waker of a submission panicked");
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
        let next = line.front().filter(|_| place == Some(0)).cloned();
        drop(line);
        if let Some(next) = next {
            wake(next);
        }
    }
}
