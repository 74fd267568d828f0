//! Hints for the compiler about branches that are taken rarely.
//!
//! What a command passes through from its submission to its result is about as long as the innermost instruction cache is
//! large. What is rare must not lie in between.

/// `condition`, which is false mostly.
#[inline(always)]
pub(crate) const fn unlikely(condition: bool) -> bool {
    if condition {
        rare();
    }
    condition
}

/// `condition`, which is true mostly.
#[inline(always)]
pub(crate) const fn likely(condition: bool) -> bool {
    if !condition {
        rare();
    }
    condition
}

#[inline]
#[cold]
const fn rare() {}
