//! Which row a command has. An index in the file would halve the speed of writing; this one costs some bytes per command.

use std::hash::{BuildHasher, Hash, Hasher};

use hashbrown::HashMap;

/// Rows by two hashes of the id.
#[derive(Debug, Default)]
pub(super) struct Index {
    rows: HashMap<Key, i64, foldhash::fast::RandomState>,
    hasher: foldhash::quality::RandomState,
    other_hasher: foldhash::quality::RandomState,
}

/// What stands for an id: 128 bits that differ from process to process. That two ids have the same is as unlikely as that two random
/// ids are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u64, u64);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

impl Index {
    /// The row of a command, if there is one.
    pub(super) fn find(&self, id: &str) -> Option<i64> {
        self.rows.get(&self.key(id)).copied()
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Notes the row of a command that has none.
    pub(super) fn insert(&mut self, id: &str, row: i64) -> Key {
        let key = self.key(id);
        self.put_back(key, row);
        key
    }

    /// Forgets the row of a command, and returns it.
    pub(super) fn remove(&mut self, id: &str) -> Option<(Key, i64)> {
        self.rows.remove_entry(&self.key(id))
    }

    /// Undoes an [`insert`](Self::insert).
    pub(super) fn take_out(&mut self, key: Key) -> Option<i64> {
        self.rows.remove(&key)
    }

    /// Undoes a [`remove`](Self::remove).
    pub(super) fn put_back(&mut self, key: Key, row: i64) {
        self.rows.insert(key, row);
    }

    fn key(&self, id: &str) -> Key {
        #[cfg(test)]
        if let Some(number) = id.strip_prefix("collides-") {
            return Key(number.len() as u64, self.other_hasher.hash_one(id));
        }
        Key(self.hasher.hash_one(id), self.other_hasher.hash_one(id))
    }
}
