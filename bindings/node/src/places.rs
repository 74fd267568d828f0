//! A table whose places are used again.

/// How many places an empty table keeps.
const SPARE: usize = 1_024;

/// Names what is, or was, in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlaceId {
    /// Below the number of things that were in the table at once.
    pub(crate) place: u32,
    /// Tells those apart that had the same place, as long as there were not 2^32 others between them.
    pub(crate) run: u32,
}

/// Finds and forgets things by numbers.
pub(crate) struct Places<T> {
    places: Vec<Option<(u32, T)>>,
    /// Places with nothing in them; the last one is used next.
    free: Vec<u32>,
    runs: u32,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            runs: 0,
        }
    }
}

impl<T> Places<T> {
    pub(crate) fn put(&mut self, thing: T) -> PlaceId {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() as u32 - 1
        });
        self.runs = self.runs.wrapping_add(1);
        let run = self.runs;
        self.places[place as usize] = Some((run, thing));
        PlaceId { place, run }
    }

    pub(crate) fn get(&self, id: PlaceId) -> Option<&T> {
        match self.places.get(id.place as usize)? {
            Some((run, thing)) if *run == id.run => Some(thing),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, id: PlaceId) -> Option<&mut T> {
        match self.places.get_mut(id.place as usize)? {
            Some((run, thing)) if *run == id.run => Some(thing),
            _ => None,
        }
    }

    pub(crate) fn take(&mut self, id: PlaceId) -> Option<T> {
        let place = self.places.get_mut(id.place as usize)?;
        let (_, thing) = place.take_if(|(run, _)| *run == id.run)?;
        self.free.push(id.place);
        if self.count() == 0 && self.places.len() > SPARE {
            // After a burst.
            *self = Self {
                runs: self.runs,
                ..Self::default()
            };
        }
        Some(thing)
    }

    pub(crate) fn count(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_and_what_it_had_is_not_found() {
        let mut places = Places::default();
        let [a, b] = ["a", "b"].map(|thing| places.put(thing));
        assert_eq!((places.take(a), places.take(a)), (Some("a"), None));
        let c = places.put("c");
        assert_eq!(c.place, a.place);
        assert_eq!(places.get(a), None);
        assert_eq!(places.get_mut(a), None);
        assert_eq!(places.get(b), Some(&"b"));
        assert_eq!(places.get_mut(c), Some(&mut "c"));
        assert_eq!((places.take(a), places.count()), (None, 2));
    }

    #[test]
    fn an_empty_table_forgets_a_burst_and_no_number() {
        let mut places = Places::default();
        let ids: Vec<_> = (0..2 * SPARE).map(|number| places.put(number)).collect();
        for id in &ids {
            assert!(places.take(*id).is_some());
        }
        assert_eq!((places.count(), places.places.capacity()), (0, 0));
        let after = places.put(0);
        assert_eq!(after.place, ids[0].place);
        assert!(places.get(ids[0]).is_none() && places.get(after).is_some());
    }
}
