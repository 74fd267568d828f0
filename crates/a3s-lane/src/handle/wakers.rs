//! Who waits for something.

use std::task::Waker;

/// The tasks that wait for the same thing: one place for each, as long as it waits.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    /// Grows with every [`take`](Self::take), so that a place of an earlier round is known to be gone.
    round: u64,
    places: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// The place of one waiting task.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    round: u64,
    index: usize,
}

impl Wakers {
    /// Waits at `place`, or at a new one.
    ///
    /// Returns the waker that was there. Its drop may run anything, this list's owner included: drop it when no lock is
    /// held.
    #[must_use]
    pub(super) fn wait(&mut self, place: &mut Option<Place>, waker: &Waker) -> Option<Waker> {
        if let Some(known) = self.known(*place) {
            if known.as_ref().is_some_and(|known| known.will_wake(waker)) {
                return None;
            }
            return known.replace(waker.clone());
        }
        let waker = Some(waker.clone());
        let index = match self.free.pop() {
            Some(index) => {
                self.places[index] = waker;
                index
            }
            None => {
                self.places.push(waker);
                self.places.len() - 1
            }
        };
        *place = Some(Place {
            round: self.round,
            index,
        });
        None
    }

    /// Waits no longer. Returns the waker, to be dropped when no lock is held.
    #[must_use]
    pub(super) fn leave(&mut self, place: &mut Option<Place>) -> Option<Waker> {
        let left = place.take()?;
        let waker = self.known(Some(left))?.take();
        self.free.push(left.index);
        waker
    }

    /// All who wait, to be woken when no lock is held. Their places are gone.
    #[must_use]
    pub(super) fn take(&mut self) -> Vec<Option<Waker>> {
        self.round += 1;
        self.free.clear();
        std::mem::take(&mut self.places)
    }

    fn known(&mut self, place: Option<Place>) -> Option<&mut Option<Waker>> {
        let place = place.filter(|place| place.round == self.round)?;
        self.places.get_mut(place.index)
    }
}

/// Wakes those whom [`Wakers::take`] returned.
pub(super) fn wake_all(wakers: impl IntoIterator<Item = Option<Waker>>) {
    wakers.into_iter().flatten().for_each(Waker::wake);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::tests::Wakes;

    #[test]
    fn all_who_wait_are_woken_once() {
        let (first, second) = (Wakes::new(), Wakes::new());
        let mut wakers = Wakers::default();
        let (mut a, mut b) = (None, None);
        assert!(wakers.wait(&mut a, &first.waker()).is_none());
        assert!(wakers.wait(&mut b, &second.waker()).is_none());
        // Asking again is still one place.
        assert!(wakers.wait(&mut a, &first.waker()).is_none());
        wake_all(wakers.take());
        assert_eq!((first.count(), second.count()), (1, 1));
        wake_all(wakers.take());
        assert_eq!((first.count(), second.count()), (1, 1));
    }

    #[test]
    fn a_future_that_moved_to_another_task_wakes_that_one() {
        let (before, after) = (Wakes::new(), Wakes::new());
        let mut wakers = Wakers::default();
        let mut place = None;
        assert!(wakers.wait(&mut place, &before.waker()).is_none());
        let replaced = wakers.wait(&mut place, &after.waker());
        assert!(replaced.is_some_and(|waker| waker.will_wake(&before.waker())));
        wake_all(wakers.take());
        assert_eq!((before.count(), after.count()), (0, 1));
    }

    #[test]
    fn who_left_is_not_woken_and_leaves_room() {
        let wakes = Wakes::new();
        let mut wakers = Wakers::default();
        let (mut a, mut b) = (None, None);
        assert!(wakers.wait(&mut a, &wakes.waker()).is_none());
        assert!(wakers.leave(&mut a).is_some());
        assert!(wakers.leave(&mut a).is_none());
        assert!(wakers.wait(&mut b, &wakes.waker()).is_none());
        assert_eq!(wakers.places.len(), 1);
        wake_all(wakers.take());
        assert_eq!(wakes.count(), 1);
    }

    #[test]
    fn a_place_of_an_earlier_round_is_nobody_elses() {
        let (old, new) = (Wakes::new(), Wakes::new());
        let mut wakers = Wakers::default();
        let (mut a, mut b) = (None, None);
        assert!(wakers.wait(&mut a, &old.waker()).is_none());
        wake_all(wakers.take());
        assert!(wakers.wait(&mut b, &new.waker()).is_none());
        // Without the round, this would throw out the new one.
        assert!(wakers.leave(&mut a).is_none());
        wake_all(wakers.take());
        assert_eq!((old.count(), new.count()), (1, 1));
    }
}
