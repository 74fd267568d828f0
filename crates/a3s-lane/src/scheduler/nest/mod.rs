//! Nested work: a command that waits for a child lends it what it holds.
//!
//! A running command holds a slot of its lane and a share of the total. While its body waits for a child, both are free for what it
//! waits for, at any remove, and for nobody else: a lane of one cannot deadlock on itself, and no unrelated command gets between
//! the two. An example, with one slot per lane and a total of one:
//!
//! ```text
//!                                   slot of lane A                        slot of lane B   the share of the total
//! parent runs in A                  parent                                free             parent
//!   and waits for child in B        parent                                free             parent sets it aside for the child
//! child starts (it was urged)       parent                                child            child, lent by parent
//!   and waits for grandchild in A   parent sets it aside for grandchild   child            child sets it aside, too
//! grandchild starts (it was lent)   grandchild, lent by parent            child            grandchild, lent by child
//! grandchild ends                   parent                                child            child, lent by parent
//! child ends                        parent                                free             parent
//! ```
//!
//! So an awaited child can be *favoured*: it goes before the others of its lane. In two ways:
//!
//! - *lent*: in the lane of an ancestor that waits for it, its parent or one further up, it runs in that ancestor's slot,
//!   on its parent's share. Of several whose slot nobody uses the nearest lends it;
//! - *urged*: in another lane it needs a slot of that lane. Under a total limit it uses its parent's share; without one it
//!   waits for its turn like any other, unless it was urged before the total was lifted.
//!
//! A parent has one share, with a total or without, and may wait for many children. It sets the share aside for the first that can
//! start, in the order of submission, else for the first that can be favoured. Who has it keeps it, unless it is *stuck*, kept back by
//! its lane, and another could start. The others wait for their turn, as any command does, and run on shares of their own.
//!
//! In a lane those that are lent a slot start first, then those that are urged, each in the order in which they became so; one that
//! is urged is lent a slot as soon as there is one. When several parents come to want the same by one call, nothing is promised about
//! who gets it.
//!
//! When a lender ends first, its borrower borrows from *its* lender, or owns what it borrowed. When nobody waits for a child any
//! more, it goes back into its turn if it has not started; what runs keeps what it has.
//!
//! A favoured child does not wait for its key, neither for the most slots of one key nor for the end of a pause, since its parent holds
//! a slot as long as the child waits; for a pause of its lane and limits on starts per time it does.
//!
//! A child that nobody waits for is a command like any other, but that its parent is not preempted for it: see `preempt`.
//!
//! In this file: the types. `family`: who waits for whom and who could lend to whom; `favour`: who goes first (start with its
//! table); `loan`: what runs on what; `ahead`: the part of a lane that holds those who go first.

mod ahead;
#[cfg(test)]
mod check;
mod family;
mod favour;
mod loan;

use std::collections::BTreeSet;

use super::decision::{CommandKey, LaneKey};
use super::entry::{Entry, State};

pub(super) use ahead::{Ahead, Opening};

/// What ties a command to those above and below it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Nest {
    /// The children that its body waits for, in the order of submission. Each knows it too.
    awaits: BTreeSet<CommandKey>,
    /// How it goes before the others of its lane while it is ready.
    favour: Favour,
    /// Of its slot of the lane, and of its share of the total.
    slot: Loan,
    share: Loan,
    refused: Refusal,
}

/// A limit on starts per time has refused a child: what is set aside for it may serve a sibling until then.
#[derive(Debug, Clone, Copy, Default)]
struct Refusal {
    until: u64,
    /// The lane's `limits_version` then: another one makes this refusal void.
    version: u64,
}

/// What a running command holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// A slot of its lane.
    Slot,
    /// A share of the total.
    Share,
}

/// What awaited children may get that they could not before.
#[derive(Debug, Clone, Copy)]
pub(super) enum Offer {
    /// It has come back to this command.
    Right(Right, CommandKey),
    /// The lane lets more of them start than it did, which was this.
    Lane(LaneKey, Opening),
}

/// Both ends of a right that commands lend each other. Each has its other end in the other command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Loan {
    /// Whose right this command runs on; none when it is its own.
    lender: Option<CommandKey>,
    /// Who runs on the right of this one, or for whom it is set aside.
    borrower: Option<CommandKey>,
}

/// How an awaited child starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Favour {
    /// In its turn.
    #[default]
    None,
    /// In the slot of an ancestor.
    Lent(CommandKey),
    /// In a slot of its lane, on its parent's share of the total.
    Urged,
}

impl Nest {
    fn loan(&mut self, right: Right) -> &mut Loan {
        match right {
            Right::Slot => &mut self.slot,
            Right::Share => &mut self.share,
        }
    }
}

impl<T> Entry<T> {
    fn nest(&self) -> Option<&Nest> {
        self.terms.as_ref()?.notes.nest.as_deref()
    }

    pub(super) fn favour(&self) -> Favour {
        self.nest().map_or(Favour::None, |nest| nest.favour)
    }

    /// Whether it is ready and waits for its turn.
    pub(super) fn is_in_turn(&self) -> bool {
        self.state == State::Ready && self.favour() == Favour::None
    }

    fn slot(&self) -> Loan {
        self.nest().map_or(Loan::default(), |nest| nest.slot)
    }

    fn share(&self) -> Loan {
        self.nest().map_or(Loan::default(), |nest| nest.share)
    }

    /// Whether it has a share of the total of its own.
    pub(super) fn owns_share(&self) -> bool {
        self.share().lender.is_none()
    }

    /// Whether it waits for nobody, borrows nothing and lends nothing: stopping it would free its slot at once.
    pub(super) fn is_alone(&self) -> bool {
        let unbound = |nest: &Nest| {
            nest.awaits.is_empty() && (nest.slot, nest.share) == (Loan::default(), Loan::default())
        };
        self.nest().is_none_or(unbound)
    }
}
