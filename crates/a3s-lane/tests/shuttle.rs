//! The tokio shell under a model checker, which chooses at every lock and every await which task goes on.
//!
//! Built and run by:
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test -p a3s-lane --no-default-features --test shuttle --target-dir target/shuttle
//! ```
//!
//! Without that flag there is nothing here. Time is the checker's: a back-off or a time limit ends whenever it chooses,
//! so these models race the timer with everything else. A lost wake-up shows as a deadlock. A failure prints a schedule
//! that `shuttle::replay` runs again.
#![cfg(shuttle)]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed model")]

#[path = "shuttle/arrivals.rs"]
mod arrivals;
#[path = "shuttle/command.rs"]
mod command;
#[path = "shuttle/end.rs"]
mod end;
#[path = "shuttle/ends.rs"]
mod ends;
#[path = "shuttle/held.rs"]
mod held;
#[path = "shuttle/hosted.rs"]
mod hosted;
#[path = "shuttle/inbox.rs"]
mod inbox;
#[path = "shuttle/progress.rs"]
mod progress;
