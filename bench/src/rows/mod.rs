//! The rows of the table. Each file measures one thing and says in its first lines how.

mod cancel;
mod churn;
mod cpu;
mod depth;
mod drive;
mod durable;
mod events;
mod idle;
mod keys;
mod limits;
mod load;
mod memory;
mod observed;
mod preempt;
mod priorities;
mod restore;
mod round_trip;
mod sleeps;
mod submissions;
mod submit_many;
mod throughput;
mod timers;
mod urgent;

use crate::harness::line::Line;
use crate::harness::options::Options;

/// A row that can be asked for by name.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&Options) -> Vec<Line>,
}

/// All rows, in the order in which they run.
pub(crate) const ROWS: [Row; 20] = [
    Row {
        name: "throughput",
        about: "no-op commands through 1, 10, 100 and 1000 lanes of ten",
        run: throughput::run,
    },
    Row {
        name: "depth",
        about: "filling and emptying a lane with 1k to 1M commands pending",
        run: depth::run,
    },
    Row {
        name: "cpu",
        about: "processor time per command on one pinned core",
        run: cpu::run,
    },
    Row {
        name: "sleeps",
        about: "lanes filled with async sleeps, against a semaphore",
        run: sleeps::run,
    },
    Row {
        name: "observed",
        about: "no-op commands with metrics and a subscriber",
        run: observed::run,
    },
    Row {
        name: "round-trip",
        about: "submit to result of an idle queue, p50 and p99",
        run: round_trip::run,
    },
    Row {
        name: "urgent",
        about: "start of a control command under a saturated prompt lane, p99",
        run: urgent::run,
    },
    Row {
        name: "memory",
        about: "bytes per pending command",
        run: memory::run,
    },
    Row {
        name: "events",
        about: "events and allocations with nobody listening",
        run: events::run,
    },
    Row {
        name: "idle",
        about: "processor time and wake-ups of 1000 idle lanes",
        run: idle::run,
    },
    Row {
        name: "cancel",
        about: "from the cancel call to the body noticing and to the error, p50 and p99",
        run: cancel::run,
    },
    Row {
        name: "preempt",
        about: "from an urgent submit to the victim noticing and to the urgent start, p50 and p99",
        run: preempt::run,
    },
    Row {
        name: "keys",
        about: "shares of 10,000 weighted fairness keys, and what keys cost",
        run: keys::run,
    },
    Row {
        name: "timers",
        about: "100,000 commands with random delays, against bare sleeps",
        run: timers::run,
    },
    Row {
        name: "submit-many",
        about: "submit_many, submit_with and submit against each other",
        run: submit_many::run,
    },
    Row {
        name: "limits",
        about: "a lane with two named limiters against one without",
        run: limits::run,
    },
    Row {
        name: "priorities",
        about: "filling and emptying a lane with 1k to 1M random command priorities",
        run: priorities::run,
    },
    Row {
        name: "durable",
        about: "stored commands from 1, 64 and 512 submitters, with and without fsync",
        run: durable::run,
    },
    Row {
        name: "restore",
        about: "opening a storage with 1M commands pending and reading them",
        run: restore::run,
    },
    Row {
        name: "churn",
        about: "the size of a storage's files after many commands went through",
        run: churn::run,
    },
];
