//! Nested work: who lends what to whom, and who goes before the others of its lane.
//!
//! Who runs on what is known from the starts: each command that holds a slot has it, and a share of the total, of its own or
//! from another. When that one ends, what it lent is had from its own lender, or owned.
//!
//! What is set aside for whom is remembered, for it stays as long as it may. After each change it is looked at anew, for all
//! parents ([`Model::lend`]), in these words:
//!
//! - a body that waits sets its share aside for one ready child: the first, in the order of submission, that could start, else
//!   the first that can be favoured at all. That stays so, unless its lane keeps this child from starting and another could;
//! - such a child is lent the slot of the nearest ancestor that waits for it, is in its lane, and whose slot nobody uses and is
//!   set aside for nobody. Without one, and under a total, it is urged: it needs a slot of its lane;
//! - one that is urged is lent a slot as soon as it can be;
//! - it loses all this when nobody waits for it any more, or the lender does not;
//! - in a lane those that are lent a slot go first, then those that are urged, of each the one that became so first.
//!
//! By one call several parents may come to want the same slot. Nothing is promised about which of them gets it, nor about the
//! order of those that are favoured by the same call: there the model does as the scheduler did ([`Model::heed`]), as long as
//! each step is one of those that are due, in whatever order they lead to what the scheduler did. `rivals` counts how often that was
//! a choice.

use std::collections::BTreeSet;

use super::{After, Command, Model, Phase};

/// What ties a command to others, by their serials.
#[derive(Debug, Clone, Default)]
pub(in crate::scheduler) struct Ties {
    pub(in crate::scheduler) parent: Option<u64>,
    /// The children that its body waits for.
    pub(in crate::scheduler) awaits: BTreeSet<u64>,
    pub(in crate::scheduler) favour: Option<Favour>,
    /// Whose slot it runs in, and on whose share; none when that is its own.
    pub(in crate::scheduler) slot_of: Option<u64>,
    pub(in crate::scheduler) share_of: Option<u64>,
}

/// A ready child goes before the others of its lane: its parent's share is set aside for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scheduler) struct Favour {
    /// Whose slot is set aside for it, too; without one it is urged.
    pub(in crate::scheduler) lender: Option<u64>,
    /// The number of the call that did it, and its place among those of this call.
    since: (u64, usize),
}

/// A child that must be favoured, or favoured in another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Due {
    child: u64,
    lender: Option<u64>,
    /// The stuck sibling that had the share so far.
    instead_of: Option<u64>,
}

/// How many steps are tried at most to find the order that the scheduler took.
const SEARCHED: usize = 10_000;
/// How many of them follow each other at most.
const DEEPEST: usize = 100;

/// What the scheduler has done, and how often each rule has mattered.
#[derive(Debug, Clone, Default)]
pub(in crate::scheduler) struct Nesting {
    calls: u64,
    /// The lanes whose queues are others, since something was set aside or taken back.
    pub(super) changed: BTreeSet<usize>,
    /// Those that the scheduler favours, and the lenders of their slots.
    favoured: Vec<(u64, Option<u64>)>,
    lent: usize,
    /// By one further up than the parent.
    lent_from_afar: usize,
    urged: usize,
    /// Urged first, then lent a slot.
    lent_later: usize,
    /// A share went from a stuck child to a sibling.
    moved: usize,
    /// Not for the first child, since that one was stuck.
    passed_over: usize,
    /// Taken back before a start.
    taken_back: usize,
    /// A slot, or a share, went to the one that ran on it when its owner ended.
    inherited_slots: usize,
    inherited_shares: usize,
    /// What was due was not any more, since another has got it by the same call.
    rivals: usize,
    /// Asked to make room, and left alone since only those below it want that.
    pub(super) spared: usize,
    pub(super) preempted: usize,
}

impl Command {
    pub(super) fn owns_slot(&self) -> bool {
        self.holds_slot() && self.ties.slot_of.is_none()
    }

    pub(super) fn owns_share(&self) -> bool {
        self.holds_slot() && self.ties.share_of.is_none()
    }

    pub(super) fn is_lent(&self) -> bool {
        let favour = self.ties.favour;
        favour.is_some_and(|favour| favour.lender.is_some())
    }

    pub(super) fn is_urged(&self) -> bool {
        let favour = self.ties.favour;
        favour.is_some_and(|favour| favour.lender.is_none())
    }
}

impl Nesting {
    pub(in crate::scheduler) fn counts(&self) -> [(&'static str, usize); 12] {
        [
            ("lent", self.lent),
            ("lent from afar", self.lent_from_afar),
            ("urged", self.urged),
            ("lent later", self.lent_later),
            ("moved", self.moved),
            ("passed over", self.passed_over),
            ("taken back", self.taken_back),
            ("inherited slots", self.inherited_slots),
            ("inherited shares", self.inherited_shares),
            ("rivals", self.rivals),
            ("spared", self.spared),
            ("preempted", self.preempted),
        ]
    }
}

impl Model {
    /// The scheduler has made a call, and favours these now, lane by lane and in their order. Tell the model before it makes the
    /// same call.
    pub(in crate::scheduler) fn heed(&mut self, favoured: Vec<(u64, Option<u64>)>) {
        self.nesting.calls += 1;
        self.nesting.favoured = favoured;
    }

    /// The running body of `parent` waits for its child, or does not any more.
    pub(in crate::scheduler) fn set_awaited(
        &mut self,
        parent: u64,
        run: u32,
        child: u64,
        awaited: bool,
        now: u64,
    ) {
        let is_child = self
            .get(child)
            .is_some_and(|child| child.ties.parent == Some(parent));
        let is_run = self.get(parent).is_some_and(|parent| parent.run == run);
        if is_child && is_run && awaited && self.is_running(parent, run) {
            self.get_mut(parent).ties.awaits.insert(child);
        } else if is_run && !awaited {
            self.get_mut(parent).ties.awaits.remove(&child);
        }
        self.lend(now);
    }

    /// The command that waits for this one.
    fn waiting_parent(&self, serial: u64) -> Option<&Command> {
        let parent = self.get(self.get(serial)?.ties.parent?)?;
        Some(parent).filter(|parent| parent.ties.awaits.contains(&serial))
    }

    /// Those that wait for a command, at any number of removes, the nearest first.
    fn waiting_ancestors(&self, serial: u64) -> impl Iterator<Item = &Command> {
        let parent = |below: &&Command| self.waiting_parent(below.serial);
        std::iter::successors(self.waiting_parent(serial), parent)
    }

    /// The nearest that waits for a command, in its lane, and whose slot nobody else uses or is to use.
    fn lender(&self, serial: u64) -> Option<u64> {
        let lane = self.get(serial)?.lane;
        let in_use = |above: &Command| {
            let uses = |other: &Command| {
                let favour = other.ties.favour;
                let is_lent = favour.is_some_and(|favour| favour.lender == Some(above.serial));
                is_lent || other.ties.slot_of == Some(above.serial)
            };
            self.commands.iter().any(uses)
        };
        let mut above = self.waiting_ancestors(serial);
        let lender = above.find(|above| above.lane == lane && above.holds_slot() && !in_use(above));
        lender.map(|lender| lender.serial)
    }

    /// The favoured children of a lane, in their order.
    pub(in crate::scheduler) fn ahead(&self, lane: usize) -> Vec<&Command> {
        let mut ahead: Vec<_> = self
            .of_lane(lane)
            .filter(|one| one.ties.favour.is_some())
            .collect();
        let order = |command: &&Command| {
            let favour = command.ties.favour.expect("a favoured one");
            (favour.lender.is_none(), favour.since)
        };
        ahead.sort_by_key(order);
        ahead
    }

    /// How many of the lane's slots are free.
    pub(super) fn free_slots(&self, lane: usize) -> usize {
        self.lane(lane)
            .rules
            .max()
            .saturating_sub(self.active(lane))
    }

    /// Whether its lane keeps a favoured child from starting on what is set aside for it.
    fn is_stuck(&self, child: &Command) -> bool {
        !self.exempt(child.lane).contains(&child.serial)
    }

    /// The favoured children of a lane that could start: all that are lent a slot, and as many others as there are free ones.
    pub(super) fn exempt(&self, lane: usize) -> Vec<u64> {
        if self.lane(lane).paused {
            return Vec::new();
        }
        let ahead = self.ahead(lane);
        let lent = ahead.iter().filter(|one| one.is_lent());
        let urged = ahead.iter().filter(|one| one.is_urged());
        let exempt = lent.chain(urged.take(self.free_slots(lane)));
        exempt.map(|one| one.serial).collect()
    }

    /// Whether a child that is not favoured could start if it were, behind the others that are.
    fn could_start_favoured(&self, child: &Command) -> bool {
        let urged = self.of_lane(child.lane).filter(|one| one.is_urged());
        let has_slot = self.total.is_some() && urged.count() < self.free_slots(child.lane);
        !self.lane(child.lane).paused && (has_slot || self.lender(child.serial).is_some())
    }

    /// Sets aside what can be, after something has changed.
    pub(super) fn lend(&mut self, now: u64) {
        self.set_aside();
        for lane in std::mem::take(&mut self.nesting.changed) {
            self.place_keys(lane);
            self.lane_mut(lane).seen_at = now;
        }
    }

    fn set_aside(&mut self) {
        self.take_back();
        if self.due().is_empty() {
            return;
        }
        let before = self.clone();
        for _ in 0..1_000 {
            let steps = self.steps();
            let Some(first) = steps.first() else {
                if !self.is_as_told() {
                    // The scheduler may have taken the same steps in another order.
                    *self = before
                        .search(DEEPEST, &mut { SEARCHED })
                        .unwrap_or_else(|| self.clone());
                }
                return;
            };
            self.take(*first, &steps);
        }
        panic!("what is set aside never settles");
    }

    /// What is due, first that which the scheduler has done, in its order.
    fn steps(&self) -> Vec<Due> {
        let done = &self.nesting.favoured;
        let place = |due: &Due| done.iter().position(|one| *one == (due.child, due.lender));
        let mut steps = self.due();
        steps.sort_by_key(|due| place(due).unwrap_or(usize::MAX));
        steps
    }

    /// Takes one of these steps. Others may not be due any more, since it has got what they wanted.
    fn take(&mut self, step: Due, steps: &[Due]) {
        self.favour(step);
        let due = self.due();
        let mut others = steps.iter().filter(|other| **other != step);
        self.nesting.rivals += others.by_ref().filter(|other| !due.contains(other)).count();
    }

    /// The first order of steps, of so many, that leads to what the scheduler has set aside.
    fn search(&self, deepest: usize, left: &mut usize) -> Option<Self> {
        let deepest = deepest.checked_sub(1)?;
        let steps = self.steps();
        if steps.is_empty() {
            return self.is_as_told().then(|| self.clone());
        }
        for step in &steps {
            *left = left.checked_sub(1)?;
            let mut next = self.clone();
            next.take(*step, &steps);
            if let Some(found) = next.search(deepest, left) {
                return Some(found);
            }
        }
        None
    }

    fn is_as_told(&self) -> bool {
        let lanes = self.lane_numbers().into_iter();
        let ahead = lanes.flat_map(|lane| self.ahead(lane));
        let lender = |command: &Command| command.ties.favour.and_then(|favour| favour.lender);
        let ahead = ahead.map(|command| (command.serial, lender(command)));
        ahead.eq(self.nesting.favoured.iter().copied())
    }

    fn favour(&mut self, due: Due) {
        let Due {
            child,
            lender,
            instead_of,
        } = due;
        let parent = self.waiting_parent(child).expect("it is awaited").serial;
        let children = self.waiting_children(parent);
        let is_first = children.first().is_some_and(|first| first.serial == child);
        let had = self
            .get(child)
            .and_then(|child| child.ties.favour)
            .is_some();
        self.nesting.lent_later += usize::from(had);
        self.nesting.moved += usize::from(instead_of.is_some());
        self.nesting.passed_over += usize::from(!had && instead_of.is_none() && !is_first);
        if let Some(sibling) = instead_of {
            self.go_back(sibling);
        }
        let mut places = self.nesting.favoured.iter();
        let place = places.position(|(other, _)| *other == child);
        let since = (self.nesting.calls, place.unwrap_or(usize::MAX));
        let child = self.get_mut(child);
        child.ties.favour = Some(Favour { lender, since });
        let lane = child.lane;
        self.nesting.changed.insert(lane);
    }

    /// What is not for them any more is taken from those that have not started.
    fn take_back(&mut self) {
        loop {
            let has_lost = |command: &&Command| {
                command.ties.favour.is_some_and(|favour| {
                    let lends = |lender| {
                        let mut above = self.waiting_ancestors(command.serial);
                        above.any(|above| above.serial == lender && above.holds_slot())
                    };
                    command.phase != Phase::Ready
                        || self.waiting_parent(command.serial).is_none()
                        || !favour.lender.is_none_or(lends)
                })
            };
            let Some(lost) = self.commands.iter().find(has_lost).map(|lost| lost.serial) else {
                return;
            };
            self.nesting.taken_back += 1;
            self.go_back(lost);
        }
    }

    /// A child that is not favoured any more stands in the queue as if it had been there since it became ready. Of those that
    /// became ready at the same time retries stand last, else those that were submitted last.
    fn go_back(&mut self, serial: u64) {
        self.get_mut(serial).ties.favour = None;
        // Preempted ones stand before the others, the last of them first.
        let is_front = |one: &Command| one.after == After::Front;
        let came = |one: &Command| {
            let is_retry = matches!(one.after, After::Retry(_));
            (one.ready_at, is_retry, one.serial)
        };
        let stands_before = |one: &Command, other: &Command| match (is_front(one), is_front(other))
        {
            (true, true) => one.ready_at >= other.ready_at,
            (false, false) => came(one) < came(other),
            (is_front, _) => is_front,
        };
        let child = self.get(serial).expect("it is there");
        let lane = child.lane;
        let of_its_queue = |one: &&Command| {
            let queue = |one: &Command| (one.rules.priority, one.rules.key);
            queue(one) == queue(child) && one.serial != serial
        };
        let mut others: Vec<_> = self.in_turn(lane).filter(of_its_queue).collect();
        others.sort_by_key(|one| one.joined);
        let mut places: Vec<i64> = others.iter().map(|one| one.joined).collect();
        places.push(child.joined);
        places.sort_unstable();
        let before = others.iter().rposition(|one| !stands_before(child, one));
        let mut queue: Vec<u64> = others.iter().map(|one| one.serial).collect();
        queue.insert(before.map_or(0, |last| last + 1), serial);
        for (serial, place) in queue.into_iter().zip(places) {
            self.get_mut(serial).joined = place;
        }
        self.nesting.changed.insert(lane);
    }

    /// The children that a command waits for and that are ready, in the order of submission.
    fn waiting_children(&self, parent: u64) -> Vec<&Command> {
        let awaits = self
            .get(parent)
            .into_iter()
            .flat_map(|parent| &parent.ties.awaits);
        let children = awaits.filter_map(|child| self.get(*child));
        children
            .filter(|child| child.phase == Phase::Ready)
            .collect()
    }

    /// What must be set aside, at most one thing for each parent.
    fn due(&self) -> Vec<Due> {
        let parents = self.commands.iter();
        let parents = parents.filter(|parent| !parent.ties.awaits.is_empty());
        let mut parents: Vec<u64> = parents.map(|parent| parent.serial).collect();
        parents.sort_unstable();
        parents
            .into_iter()
            .filter_map(|parent| self.due_of(parent))
            .collect()
    }

    fn due_of(&self, parent: u64) -> Option<Due> {
        let mut commands = self.commands.iter();
        if commands.any(|below| below.ties.share_of == Some(parent)) {
            return None;
        }
        let children = self.waiting_children(parent);
        let aside = children
            .iter()
            .find(|child| child.ties.favour.is_some())
            .copied();
        if let Some(child) = aside {
            let lender = self.lender(child.serial).filter(|_| child.is_urged());
            if lender.is_some() {
                return Some(Due {
                    child: child.serial,
                    lender,
                    instead_of: None,
                });
            }
            if !self.is_stuck(child) {
                return None;
            }
        }
        let lender_or_total =
            |child: &Command| self.total.is_some() || self.lender(child.serial).is_some();
        let others = children.iter().filter(|child| child.ties.favour.is_none());
        let able: Vec<&&Command> = others.filter(|child| lender_or_total(child)).collect();
        let starts = able.iter().find(|child| self.could_start_favoured(child));
        let child = match aside {
            Some(_) => starts,
            None => starts.or(able.first()),
        };
        let child = child?.serial;
        Some(Due {
            child,
            lender: self.lender(child),
            instead_of: aside.map(|sibling| sibling.serial),
        })
    }

    /// A command starts: a favoured child on what was set aside for it, another on what is its own.
    pub(super) fn start_favoured(&mut self, serial: u64) {
        let ties = &mut self.get_mut(serial).ties;
        let Some(favour) = ties.favour.take() else {
            return;
        };
        let parent = ties.parent;
        ties.slot_of = favour.lender;
        ties.share_of = parent;
        let from_afar = favour.lender.is_some() && favour.lender != parent;
        self.nesting.lent += usize::from(favour.lender.is_some());
        self.nesting.lent_from_afar += usize::from(from_afar);
        self.nesting.urged += usize::from(favour.lender.is_none());
    }

    /// Whether a command waits for nobody, lends nothing and borrows nothing.
    pub(super) fn is_alone(&self, command: &Command) -> bool {
        let Ties {
            awaits,
            slot_of,
            share_of,
            ..
        } = &command.ties;
        let borrows = |other: &Command| {
            [other.ties.slot_of, other.ties.share_of].contains(&Some(command.serial))
        };
        awaits.is_empty() && slot_of.or(*share_of).is_none() && !self.commands.iter().any(borrows)
    }

    /// Whether a command was submitted by `top`, or by one below it, as far as those between them are not gone.
    pub(super) fn is_below(&self, command: &Command, top: u64) -> bool {
        let parent = |below: &Command| self.get(below.ties.parent?);
        let mut above = std::iter::successors(parent(command), |below| parent(below));
        above.any(|above| above.serial == top)
    }

    /// A command holds no slot any more: whoever runs on what it holds has that from its lender now, or owns it. It waits
    /// for nobody.
    pub(super) fn end_ties(&mut self, serial: u64) {
        let ties = &mut self.get_mut(serial).ties;
        ties.awaits.clear();
        let (slot, share) = (ties.slot_of.take(), ties.share_of.take());
        self.take_back();
        let mut heir = None;
        for below in &mut self.commands {
            if below.ties.slot_of == Some(serial) {
                below.ties.slot_of = slot;
                heir = Some(below.serial).filter(|_| slot.is_none());
            }
            if below.ties.share_of == Some(serial) {
                below.ties.share_of = share;
                self.nesting.inherited_shares += usize::from(share.is_none());
            }
        }
        if let Some(heir) = heir.and_then(|heir| self.get(heir)) {
            let Command { lane, serial, .. } = *heir;
            let (key, was_preempted) = (heir.rules.key, heir.after == After::Front);
            self.nesting.inherited_slots += 1;
            self.key_starts(lane, serial, key, was_preempted);
        }
    }

    /// A command is gone: nobody waits for it.
    pub(super) fn forget_child(&mut self, serial: u64) {
        for parent in &mut self.commands {
            parent.ties.awaits.remove(&serial);
        }
    }
}
