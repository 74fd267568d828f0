//! The settings of a lane that are words, maps and lists.

use std::collections::BTreeMap;
use std::time::Duration;

use a3s_lane::{Jitter, Overflow};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyString};

use crate::argument;

/// Most limiters of one lane.
const MAX_LIMITERS: usize = 4;

pub(crate) const OVERFLOWS: [(&str, Overflow); 3] = [
    ("reject", Overflow::Reject),
    ("wait", Overflow::Wait),
    ("drop_oldest", Overflow::DropOldest),
];

pub(crate) const JITTERS: [(&str, Jitter); 3] = [
    ("none", Jitter::None),
    ("full", Jitter::Full),
    ("equal", Jitter::Equal),
];

/// What a lane has beside the settings of [`a3s_lane::LaneConfig`].
#[derive(Clone, Default, PartialEq)]
pub(crate) struct LaneOptions {
    pub(crate) max_pending: Option<usize>,
    pub(crate) overflow: Overflow,
    pub(crate) preemptible: bool,
    pub(crate) grace: Duration,
    pub(crate) progress_timeout: Option<Duration>,
    pub(crate) max_concurrency_per_key: Option<usize>,
    pub(crate) key_weights: BTreeMap<String, u32>,
    pub(crate) retry_jitter: Jitter,
    pub(crate) burst: Option<u64>,
    pub(crate) limiters: Vec<String>,
}

impl LaneOptions {
    /// The settings as the core knows them.
    pub(crate) fn to_core(&self) -> a3s_lane::LaneOptions {
        let mut options = a3s_lane::LaneOptions::new()
            .with_overflow(self.overflow)
            .with_preemption(self.preemptible)
            .with_grace(self.grace)
            .with_retry_jitter(self.retry_jitter);
        if let Some(max_pending) = self.max_pending {
            options = options.with_max_pending(max_pending);
        }
        if let Some(limit) = self.progress_timeout {
            options = options.with_progress_timeout(limit);
        }
        if let Some(max) = self.max_concurrency_per_key {
            options = options.with_max_concurrency_per_key(max);
        }
        if let Some(burst) = self.burst {
            options = options.with_burst(burst);
        }
        for (key, weight) in &self.key_weights {
            options = options.with_key_weight(key, *weight);
        }
        for limiter in &self.limiters {
            options = options.with_limiter(limiter);
        }
        options
    }
}

/// The word that stands for `value`.
pub(crate) fn word<T: PartialEq>(
    words: &'static [(&'static str, T)],
    value: &T,
) -> Option<&'static str> {
    let found = words.iter().find(|(_, known)| known == value);
    found.map(|(word, _)| *word)
}

/// A dict from keys to weights.
pub(crate) fn key_weights(value: &Bound<'_, PyAny>) -> PyResult<BTreeMap<String, u32>> {
    // What `LaneConfig.key_weights` returns is a read-only view, which `dict` copies.
    let weights = match value.cast::<PyDict>() {
        Ok(dict) => dict.clone(),
        Err(_) if value.is_instance_of::<pyo3::types::PyMappingProxy>() => {
            let copy = PyDict::new(value.py());
            copy.call_method1("update", (value,))?;
            copy
        }
        Err(_) => {
            return Err(argument::wrong_class(
                "key_weights",
                "dict of str to int",
                value,
            ));
        }
    };
    let mut read = BTreeMap::new();
    for (key, weight) in weights {
        let key = key
            .cast::<PyString>()
            .map_err(|_| argument::wrong_class("a key of key_weights", "str", &key))?;
        let field = format!("key_weights[{}]", key.repr()?);
        let name = argument::name("a key of key_weights", key)?;
        read.insert(name, argument::integer(&field, &weight, 1..=u32::MAX)?);
    }
    Ok(read)
}

/// A few names of limiters, each once.
pub(crate) fn limiters(value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let names = argument::texts("limiters", value)?;
    if names.len() > MAX_LIMITERS {
        return Err(PyValueError::new_err(format!(
            "limiters must be at most {MAX_LIMITERS} names, got {}",
            names.len()
        )));
    }
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() {
            return Err(PyValueError::new_err(format!(
                "limiters[{index}] must not be empty"
            )));
        }
        if names.iter().take(index).any(|known| known == name) {
            return Err(PyValueError::new_err(format!(
                "limiters[{index}] must be unique, got {name:?} again"
            )));
        }
    }
    Ok(names)
}
