//! Which row a command has. An index in the file would halve the speed of writing; this one costs some bytes per command.

use std::hash::BuildHasher;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

/// Rows by the hash of the id. Ids whose hash is taken are kept whole: that is one in billions.
#[derive(Debug, Default)]
pub(super) struct Index {
    rows: HashMap<u64, i64, foldhash::fast::RandomState>,
    collisions: HashMap<Box<str>, i64, foldhash::fast::RandomState>,
    hasher: foldhash::quality::RandomState,
}

/// Where to look for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row {
    /// There is no such command.
    None,
    /// It is this row, or there is no such command: the row's own id tells.
    Maybe(i64),
    Certain(i64),
}

impl Index {
    pub(super) fn find(&self, id: &str) -> Row {
        if let Some(row) = self.collisions.get(id) {
            return Row::Certain(*row);
        }
        let row = self.rows.get(&self.hash(id));
        row.map_or(Row::None, |row| Row::Maybe(*row))
    }

    /// Notes the row of a command that has none.
    pub(super) fn insert(&mut self, id: &str, row: i64) {
        match self.rows.entry(self.hash(id)) {
            Entry::Vacant(place) => drop(place.insert(row)),
            Entry::Occupied(_) => drop(self.collisions.insert(id.into(), row)),
        }
    }

    pub(super) fn remove(&mut self, id: &str) {
        if self.collisions.remove(id).is_none() {
            self.rows.remove(&self.hash(id));
        }
    }

    fn hash(&self, id: &str) -> u64 {
        #[cfg(test)]
        if let Some(number) = id.strip_prefix("collides-") {
            return number.len() as u64;
        }
        self.hasher.hash_one(id)
    }
}
