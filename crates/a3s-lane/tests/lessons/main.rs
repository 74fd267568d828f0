//! What broke elsewhere must not break here. Each test is named after a lesson, and each folder-mate holds the lessons
//! of one subject; `lessons_allocation` has the one that counts allocations.

#[path = "../support/mod.rs"]
mod support;

mod dispatch;
mod drain;
mod keep;
mod panics;
mod registration;
mod streams;
mod timeouts;
mod validation;

#[cfg(feature = "distributed")]
mod config_json;
#[cfg(feature = "monitoring")]
mod observers;
#[cfg(feature = "distributed")]
mod rates;
mod storage;
#[cfg(feature = "distributed")]
mod workers;
