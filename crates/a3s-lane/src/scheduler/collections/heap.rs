//! A binary heap whose members are known by a number, so that each can be moved or removed in O(log n).

/// Where a number that is not in the heap stands.
const ABSENT: u32 = u32::MAX;

/// A min-heap of `(key, member)`. A member is in it at most once; equal keys leave in the order of their numbers.
///
/// Memory grows with the highest number ever used and is never given back: at rest nothing is allocated.
#[derive(Debug)]
pub(in crate::scheduler) struct IndexedHeap<K> {
    heap: Vec<(K, u32)>,
    position: Vec<u32>,
}

impl<K: Ord + Copy> IndexedHeap<K> {
    pub(in crate::scheduler) fn new() -> Self {
        Self {
            heap: Vec::new(),
            position: Vec::new(),
        }
    }

    /// The smallest key and its member.
    pub(in crate::scheduler) fn peek(&self) -> Option<(K, u32)> {
        self.heap.first().copied()
    }

    pub(in crate::scheduler) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The key of `member`, when it is in.
    pub(in crate::scheduler) fn get(&self, member: u32) -> Option<K> {
        let position = *self.position.get(member as usize)?;
        self.heap.get(position as usize).map(|(key, _)| *key)
    }

    /// All keys and their members, in no order.
    pub(in crate::scheduler) fn iter(&self) -> impl Iterator<Item = (K, u32)> + '_ {
        self.heap.iter().copied()
    }

    /// The members whose keys `due` accepts, as it does every smaller key, in no order. Looks at two others at most for each.
    pub(in crate::scheduler) fn all_due(&self, mut due: impl FnMut(K) -> bool) -> Vec<u32> {
        let (mut found, mut left) = (Vec::new(), vec![0]);
        while let Some(at) = left.pop() {
            if let Some(&(key, member)) = self.heap.get(at)
                && due(key)
            {
                found.push(member);
                left.extend([2 * at + 1, 2 * at + 2]);
            }
        }
        found
    }

    /// How many members are in.
    #[cfg(test)]
    pub(in crate::scheduler) fn len(&self) -> usize {
        self.heap.len()
    }

    /// For how many members the heap has made room.
    #[cfg(test)]
    pub(in crate::scheduler) fn capacity(&self) -> usize {
        self.position.len()
    }

    /// Puts `member` in with `key`, or changes its key.
    #[inline(always)]
    pub(in crate::scheduler) fn set(&mut self, member: u32, key: K) {
        // Most calls change nothing.
        if self.get(member) != Some(key) {
            self.put(member, key);
        }
    }

    /// Puts `member` in with its key, or takes it out when it has none.
    #[inline(always)]
    pub(in crate::scheduler) fn assign(&mut self, member: u32, key: Option<K>) {
        match key {
            Some(key) => self.set(member, key),
            None => self.remove(member),
        }
    }

    #[inline(never)]
    fn put(&mut self, member: u32, key: K) {
        let at = member as usize;
        if at >= self.position.len() {
            self.position.resize(at + 1, ABSENT);
        }
        let position = self.position[at];
        if position == ABSENT {
            let end = self.heap.len();
            self.heap.push((key, member));
            self.position[at] = end as u32;
            self.sift_up(end);
        } else {
            let position = position as usize;
            let old = self.heap[position].0;
            self.heap[position].0 = key;
            if key < old {
                self.sift_up(position);
            } else if key > old {
                self.sift_down(position);
            }
        }
    }

    /// Takes `member` out; does nothing when it is not in.
    #[inline(always)]
    pub(in crate::scheduler) fn remove(&mut self, member: u32) {
        if let Some(&position) = self.position.get(member as usize)
            && position != ABSENT
        {
            self.take_out(member, position as usize);
        }
    }

    #[inline(never)]
    fn take_out(&mut self, member: u32, position: usize) {
        self.position[member as usize] = ABSENT;
        self.heap.swap_remove(position);
        if let Some(&(_, moved)) = self.heap.get(position) {
            self.position[moved as usize] = position as u32;
            self.sift_up(position);
            self.sift_down(self.position[moved as usize] as usize);
        }
    }

    /// Takes out the member with the smallest key if `due` accepts that key.
    #[inline]
    pub(in crate::scheduler) fn pop_if(&mut self, due: impl FnOnce(K) -> bool) -> Option<u32> {
        let (key, member) = self.peek()?;
        if !due(key) {
            return None;
        }
        self.remove(member);
        Some(member)
    }

    fn sift_up(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.heap[parent] <= self.heap[at] {
                break;
            }
            self.swap(at, parent);
            at = parent;
        }
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let left = 2 * at + 1;
            if left >= self.heap.len() {
                break;
            }
            let right = left + 1;
            let child = if right < self.heap.len() && self.heap[right] < self.heap[left] {
                right
            } else {
                left
            };
            if self.heap[at] <= self.heap[child] {
                break;
            }
            self.swap(at, child);
            at = child;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.position[self.heap[a].1 as usize] = a as u32;
        self.position[self.heap[b].1 as usize] = b as u32;
    }
}

#[cfg(test)]
mod tests;
