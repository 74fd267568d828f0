//! What the bindings remember of the lanes, because the core does not tell it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The lanes of one queue, in the order of their configuration.
#[derive(Default)]
pub(crate) struct Lanes(Mutex<Vec<Listed>>);

#[derive(Clone)]
struct Listed {
    id: String,
    priority: u8,
    /// Submitters wait when the lane is full.
    waits: bool,
}

impl Lanes {
    /// Adds a lane, or notes the new settings of a known one.
    pub(crate) fn set(&self, id: &str, priority: u8, waits: bool) {
        let listed = Listed {
            id: id.to_owned(),
            priority,
            waits,
        };
        let mut list = self.list();
        match list.iter_mut().find(|known| known.id == id) {
            Some(known) => *known = listed,
            None => list.push(listed),
        }
    }

    pub(crate) fn remove(&self, id: &str) {
        self.list().retain(|known| known.id != id);
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.list().iter().any(|known| known.id == id)
    }

    /// Whether a submitter may have to wait for room in this lane.
    pub(crate) fn waits(&self, id: &str) -> bool {
        self.list()
            .iter()
            .any(|known| known.id == id && known.waits)
    }

    /// Most urgent lane first, equal priorities in the order of their configuration.
    pub(crate) fn by_urgency(&self) -> Vec<String> {
        let mut list = self.list().clone();
        list.sort_by_key(|known| known.priority);
        list.into_iter().map(|known| known.id).collect()
    }

    fn list(&self) -> MutexGuard<'_, Vec<Listed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_listed_by_urgency_and_then_by_configuration() {
        let lanes = Lanes::default();
        lanes.set("low", 9, false);
        lanes.set("first", 1, true);
        lanes.set("second", 1, false);
        assert_eq!(lanes.by_urgency(), ["first", "second", "low"]);
        lanes.set("low", 0, true);
        lanes.remove("second");
        assert_eq!(lanes.by_urgency(), ["low", "first"]);
        assert!(lanes.waits("low") && lanes.contains("low"));
        assert!(!lanes.waits("second") && !lanes.contains("second"));
    }
}
