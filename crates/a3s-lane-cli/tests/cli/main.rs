//! Drives the real `a3s-lane` binary.

#[cfg(unix)]
#[path = "../../../a3s-lane/tests/storage/faults/machine.rs"]
mod machine;
mod support;

mod config_errors;
mod input;
mod output;
mod usage;

#[cfg(unix)]
mod config_effects;
#[cfg(unix)]
mod durability;
#[cfg(unix)]
mod exec;
#[cfg(unix)]
mod interrupt;
#[cfg(unix)]
mod keys;
#[cfg(unix)]
mod options;
#[cfg(unix)]
mod session;
#[cfg(unix)]
mod storage;
#[cfg(target_os = "linux")]
mod terminal;
