//! Which dead letters somebody is about to take away.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The ids of commands whose dead letters are being retried or discarded: of several calls that want the same letter at once
/// one gets it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims(Arc<Mutex<HashSet<String>>>);

/// The right to take the letters of one command away. Dropping it gives the right back.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Claims,
    id: String,
}

impl Claims {
    /// The claim of a command's letters; `None` while another call has it.
    pub(crate) fn claim(&self, id: &str) -> Option<Claim> {
        self.lock().insert(id.to_owned()).then(|| Claim {
            claims: self.clone(),
            id: id.to_owned(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_excludes_others_until_it_is_dropped() {
        let claims = Claims::default();
        let first = claims.claim("a");
        assert!(first.is_some() && claims.claim("a").is_none());
        assert!(claims.claim("b").is_some());
        drop(first);
        assert!(claims.claim("a").is_some());
    }
}
