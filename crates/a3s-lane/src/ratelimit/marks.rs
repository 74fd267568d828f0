//! How full a bucket has been since a charge was taken.

use std::collections::VecDeque;

/// What a bucket lacked to be full just before each taking that a refund may have to look back to.
///
/// A refund puts back what is missing *because of* one charge. Of that, the refill since has already put back whatever the
/// bucket could not have held otherwise, so no more than the least lack since the charge can still be missing. Only marks
/// below all later ones can be such a minimum: the others are dropped, and the lacks rise strictly.
#[derive(Debug, Clone)]
pub(super) struct Marks {
    marks: VecDeque<Mark>,
    limit: usize,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    number: u64,
    lack: u128,
}

impl Default for Marks {
    fn default() -> Self {
        Self::with_limit(Self::LIMIT)
    }
}

impl Marks {
    /// Most marks of one bucket: 128 KiB.
    pub(super) const LIMIT: usize = 4_096;

    pub(super) fn with_limit(limit: usize) -> Self {
        Self {
            marks: VecDeque::new(),
            limit,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    pub(super) fn clear(&mut self) {
        self.marks.clear();
    }

    /// The bucket lacks `lack` just before part `number` is taken.
    pub(super) fn push(&mut self, number: u64, lack: u128) {
        while self.marks.back().is_some_and(|mark| mark.lack >= lack) {
            self.marks.pop_back();
        }
        self.marks.push_back(Mark { number, lack });
        if self.marks.len() > self.limit
            && let Some(oldest) = self.marks.pop_front()
            && let Some(mark) = self.marks.front_mut()
        {
            // The smaller lack for both: a refund may become smaller, never larger.
            mark.lack = oldest.lack;
        }
    }

    /// The least lack before any part after `number`; `u128::MAX` without one.
    pub(super) fn least_after(&self, number: u64) -> u128 {
        let after = self.first_after(number);
        self.marks.get(after).map_or(u128::MAX, |mark| mark.lack)
    }

    /// `units` of part `number`, at most the least lack after it, were never taken.
    pub(super) fn refund(&mut self, number: u64, units: u128) {
        let after = self.first_after(number);
        for mark in self.marks.range_mut(after..) {
            mark.lack -= units;
        }
        if let Some(&Mark { lack: least, .. }) = self.marks.get(after) {
            let kept = self
                .marks
                .partition_point(|mark| mark.number <= number && mark.lack < least);
            self.marks.drain(kept..after);
        }
    }

    /// The marks of a bucket that counts in other units; `scale` must not round up.
    pub(super) fn scaled(&self, scale: impl Fn(u128) -> u128) -> Self {
        let mut scaled = Self::with_limit(self.limit);
        for mark in &self.marks {
            scaled.push(mark.number, scale(mark.lack));
        }
        scaled
    }

    fn first_after(&self, number: u64) -> usize {
        self.marks.partition_point(|mark| mark.number <= number)
    }
}
