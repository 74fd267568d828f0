//! Which charges of a limit can still be corrected.

use std::collections::VecDeque;

use hashbrown::HashMap;

/// What one command was charged by one limit, until no correction can follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Charge {
    pub(super) start: Part,
    /// The cost as last settled.
    pub(super) cost: u64,
}

/// What was taken at one moment. Numbers order the parts of a limit, those of one moment too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) number: u64,
    pub(super) at_ns: u64,
    pub(super) amount: u64,
}

impl Part {
    /// Takes up to `amount` out of this part.
    pub(super) fn split(&mut self, amount: u64) -> Self {
        let amount = amount.min(self.amount);
        self.amount -= amount;
        Self { amount, ..*self }
    }
}

/// The charges of one limit that can still be corrected, and the debts among them.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    next: u64,
    open: u64,
    /// Debts of open charges by the number of the charge, oldest first.
    debts: HashMap<u64, VecDeque<Part>>,
}

impl Ledger {
    /// Debts of one charge that can be given back. A debt before these is final.
    pub(super) const MAX_DEBTS: usize = 64;

    /// The number of the next part.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Whether any charge can still be corrected.
    pub(super) fn has_open(&self) -> bool {
        self.open > 0
    }

    pub(super) fn part(&mut self, at_ns: u64, amount: u64) -> Part {
        let number = self.next;
        self.next += 1;
        Part {
            number,
            at_ns,
            amount,
        }
    }

    pub(super) fn open(&mut self, start: Part, cost: u64) -> Charge {
        self.open += 1;
        Charge { start, cost }
    }

    pub(super) fn close(&mut self, charge: Charge) {
        debug_assert!(self.open > 0, "each charge is forgotten once");
        self.open = self.open.saturating_sub(1);
        self.debts.remove(&charge.start.number);
    }

    pub(super) fn owe(&mut self, charge: &Charge, debt: Part) {
        if debt.amount == 0 {
            return;
        }
        let debts = self.debts.entry(charge.start.number).or_default();
        if debts.len() == Self::MAX_DEBTS {
            debts.pop_front();
        }
        debts.push_back(debt);
    }

    /// Takes up to `amount` out of the latest debt of the charge that is not given back yet.
    pub(super) fn unowe(&mut self, charge: &Charge, amount: u64) -> Option<Part> {
        let debts = self.debts.get_mut(&charge.start.number)?;
        let debt = debts.back_mut()?;
        let part = debt.split(amount);
        if debt.amount == 0 {
            debts.pop_back();
        }
        Some(part)
    }
}
