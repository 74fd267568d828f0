//! The public surface of 0.4 (and what 0.5.1 added outside of its jobs), as its users wrote against it.
//!
//! Each module stands for one of the crate's. Where a signature, a derive or a path differs, this does not compile;
//! where a default, a text or a constant differs, a test fails.

#[path = "../support/mod.rs"]
mod support;

mod config;
mod dlq;
mod error;
mod event;
mod manager;
mod priority_queue;
mod queue;
mod retry;
mod root;
mod storage;

#[cfg(feature = "monitoring")]
mod alerts;
#[cfg(feature = "distributed")]
mod boost;
#[cfg(feature = "distributed")]
mod distributed;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "monitoring")]
mod monitor;
#[cfg(feature = "distributed")]
mod partition;
#[cfg(feature = "distributed")]
mod ratelimit;
#[cfg(feature = "telemetry")]
mod telemetry;

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Compiles for types that any thread may own.
fn is_shared<T: Send + Sync + 'static>() {}

/// Compiles for types that derive `Debug` and `Clone`.
fn is_value<T: Debug + Clone>() {}

/// Compiles for types that derive serde's traits.
fn is_serde<T: Serialize + DeserializeOwned>() {}

/// A future that a multi-thread runtime accepts.
fn send<F: Future + Send>(future: F) -> F {
    future
}

/// A value after a round trip through JSON.
fn through_json<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let text = serde_json::to_string(value).expect("it can be written");
    serde_json::from_str(&text).expect("it can be read")
}
