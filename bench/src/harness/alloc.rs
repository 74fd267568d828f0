//! A global allocator that can count.
//!
//! Counting is off except inside the rows about memory: then an allocation costs one relaxed load and a predicted
//! branch more than the system's, for every contestant alike.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

static COUNTING: AtomicBool = AtomicBool::new(false);
static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// The system allocator with two counters in front.
pub(crate) struct CountingAllocator;

// SAFETY: every call is forwarded unchanged to the system allocator; the counters do not touch the memory.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        record(layout.size() as i64, 1);
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        record(layout.size() as i64, 1);
        // SAFETY: the caller upholds the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        record(-(layout.size() as i64), 0);
        // SAFETY: the caller upholds the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        record(new_size as i64 - layout.size() as i64, 1);
        // SAFETY: the caller upholds the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[inline]
fn record(bytes: i64, allocations: u64) {
    if COUNTING.load(Relaxed) {
        LIVE_BYTES.fetch_add(bytes, Relaxed);
        ALLOCATIONS.fetch_add(allocations, Relaxed);
    }
}

/// What the counters say at one moment. Only differences mean anything.
#[derive(Clone, Copy)]
pub(crate) struct Count {
    /// Requested bytes that are allocated and not yet freed.
    pub(crate) live_bytes: i64,
    /// Calls that obtained memory (alloc and realloc).
    pub(crate) allocations: u64,
}

/// Counts until dropped.
pub(crate) struct Counting(());

impl Counting {
    /// Turns counting on in every thread.
    pub(crate) fn start() -> Self {
        COUNTING.store(true, Relaxed);
        Self(())
    }

    /// The counters now.
    pub(crate) fn now(&self) -> Count {
        Count {
            live_bytes: LIVE_BYTES.load(Relaxed),
            allocations: ALLOCATIONS.load(Relaxed),
        }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        COUNTING.store(false, Relaxed);
    }
}
