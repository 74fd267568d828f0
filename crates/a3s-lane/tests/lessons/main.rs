//! What broke elsewhere must not break here. Each test is named after a lesson, and each folder-mate holds the lessons
//! of one subject; `lessons_allocation` has the one that counts allocations.

#[path = "../support/mod.rs"]
mod support;

#[path = "../../src/seeds.rs"]
mod seeds;

mod aborts;
mod dispatch;
mod drain;
mod fairness;
mod keep;
mod nesting;
mod panics;
mod registration;
mod shutdown;
mod starvation;
mod stop;
mod streams;
mod timeouts;
mod validation;
mod waiting;

#[cfg(feature = "distributed")]
mod config_json;
#[cfg(feature = "monitoring")]
mod controls;
#[cfg(feature = "distributed")]
mod cost;
#[cfg(feature = "monitoring")]
mod observers;
#[cfg(feature = "monitoring")]
mod options;
#[cfg(feature = "distributed")]
mod rates;
mod storage;
#[cfg(feature = "distributed")]
mod workers;
