//! The settings of one command.

use std::time::Duration;

use a3s_lane::{OnConflict, SubmitOptions};
use chrono::{DateTime, Utc};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyString};
use serde_json::Value;

use crate::argument::{self, Given, given};
use crate::lane_options::{JITTERS, word};
use crate::retry_policy::{self, RetryPolicy};
use crate::to_json::to_json;

const CONFLICTS: [(&str, OnConflict); 3] = [
    ("reject", OnConflict::Reject),
    ("join", OnConflict::Join),
    ("replace", OnConflict::Replace),
];

/// Allows at most one command of a name, in all lanes together.
///
/// A command holds ``key`` until it has ended, and at least for ``window_secs`` after its submission. ``on_conflict`` says
/// what happens to a submission while another command holds the key: ``"reject"`` raises :class:`DuplicateError`,
/// ``"join"`` returns the result or handle of the other command, ``"replace"`` cancels the other command.
#[pyclass(frozen, eq, from_py_object, module = "a3s_lane")]
#[derive(Clone, PartialEq)]
pub(crate) struct Unique {
    key: String,
    window: Option<Duration>,
    on_conflict: OnConflict,
}

impl Unique {
    fn to_core(&self) -> a3s_lane::Unique {
        let unique = a3s_lane::Unique::new(&self.key).on_conflict(self.on_conflict);
        match self.window {
            None => unique,
            Some(window) => unique.with_window(window),
        }
    }
}

#[pymethods]
impl Unique {
    #[new]
    #[pyo3(
        signature = (key, window_secs = None, on_conflict = Given::No),
        text_signature = "(key, window_secs=None, on_conflict='reject')"
    )]
    fn new(
        key: &Bound<'_, PyAny>,
        window_secs: Option<&Bound<'_, PyAny>>,
        on_conflict: Given<'_>,
    ) -> PyResult<Self> {
        Ok(Self {
            key: argument::name("key", key)?,
            window: window_secs
                .map(|value| argument::seconds_above_zero("window_secs", value))
                .transpose()?,
            on_conflict: match &on_conflict {
                Given::No => OnConflict::Reject,
                Given::Yes(value) => argument::choice("on_conflict", value, &CONFLICTS)?,
            },
        })
    }

    /// The name; not empty.
    #[getter]
    fn key(&self) -> &str {
        &self.key
    }

    /// Seconds after the submission for which the key is held at least; ``None`` means until the command has ended.
    #[getter]
    fn window_secs<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.window
            .map(|window| argument::seconds_to_python(py, window))
            .transpose()
    }

    /// ``"reject"``, ``"join"`` or ``"replace"``.
    #[getter]
    fn on_conflict(&self) -> &'static str {
        word(&CONFLICTS, &self.on_conflict).unwrap_or_default()
    }

    /// Lets `pickle` and `copy` make the same rule again.
    fn __getnewargs__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(&str, Option<Bound<'py, PyAny>>, &'static str)> {
        Ok((&self.key, self.window_secs(py)?, self.on_conflict()))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let window = match self.window_secs(py)? {
            None => "None".to_owned(),
            Some(secs) => secs.to_string(),
        };
        Ok(format!(
            "Unique(key={}, window_secs={window}, on_conflict='{}')",
            PyString::new(py, &self.key).repr()?,
            self.on_conflict()
        ))
    }
}

/// The settings in `arguments`, or `None` when there are none.
///
/// `callee` is who got them, and `prefix` where they stand, for errors.
pub(crate) fn read(
    callee: &str,
    prefix: &str,
    arguments: Option<&Bound<'_, PyDict>>,
) -> PyResult<Option<SubmitOptions>> {
    let Some(arguments) = arguments.filter(|arguments| !arguments.is_empty()) else {
        return Ok(None);
    };
    let mut reader = Reader::new(prefix);
    for (name, value) in arguments {
        let name = argument::text("the name of an option", &name)?;
        if !reader.read(&name, &value)? {
            return Err(argument::unexpected(callee, &name));
        }
    }
    reader.finish().map(Some)
}

/// Collects settings, to look for contradictions once all are known.
struct Reader<'a> {
    prefix: &'a str,
    options: SubmitOptions,
    delay: Option<Duration>,
    run_at: Option<DateTime<Utc>>,
    ttl: Option<Duration>,
    timeout: Option<Duration>,
    no_timeout: bool,
}

impl<'a> Reader<'a> {
    fn new(prefix: &'a str) -> Self {
        Self {
            prefix,
            options: SubmitOptions::new(),
            delay: None,
            run_at: None,
            ttl: None,
            timeout: None,
            no_timeout: false,
        }
    }

    /// Reads one setting; false when there is none of this name.
    fn read(&mut self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        let field = &format!("{}{name}", self.prefix);
        match name {
            // Those without a neutral `None`.
            "priority" => {
                let priority = argument::integer(field, value, i32::MIN..=i32::MAX)?;
                self.change(|options| options.with_priority(priority));
            }
            "cost" => {
                let cost = argument::amount(field, value, 0)?;
                self.change(|options| options.with_cost(cost));
            }
            "no_timeout" => self.no_timeout = argument::flag(field, value)?,
            "preemptible" => {
                let preemptible = argument::flag(field, value)?;
                self.change(|options| options.with_preemptible(preemptible));
            }
            _ => return self.read_optional(name, field, given(value)),
        }
        Ok(true)
    }

    fn read_optional(
        &mut self,
        name: &str,
        field: &str,
        value: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        let seconds = |value| argument::seconds(field, value);
        let above_zero = |value| argument::seconds_above_zero(field, value);
        match name {
            "delay_secs" => self.delay = value.map(seconds).transpose()?,
            "run_at" => self.run_at = value.map(|value| moment(field, value)).transpose()?,
            "ttl_secs" => self.ttl = value.map(above_zero).transpose()?,
            "timeout_secs" => self.timeout = value.map(above_zero).transpose()?,
            "id"
            | "progress_timeout_secs"
            | "retry_policy"
            | "jitter"
            | "key"
            | "unique"
            | "metadata" => {
                if let Some(value) = value {
                    self.read_given(name, field, value)?;
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn read_given(&mut self, name: &str, field: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        match name {
            "id" => {
                let id = argument::name(field, value)?;
                self.change(|options| options.with_id(id));
            }
            "progress_timeout_secs" => {
                let limit = argument::seconds_above_zero(field, value)?;
                self.change(|options| options.with_progress_timeout(limit));
            }
            "retry_policy" => {
                let policy: RetryPolicy = retry_policy::read(field, value)?;
                self.change(|options| options.with_retry_policy(policy.policy));
            }
            "jitter" => {
                let jitter = argument::choice(field, value, &JITTERS)?;
                self.change(|options| options.with_jitter(jitter));
            }
            "key" => {
                let key = argument::name(field, value)?;
                self.change(|options| options.with_key(key));
            }
            "unique" => {
                let unique = unique(field, value)?;
                self.change(|options| options.with_unique(unique));
            }
            _ => {
                for (name, value) in metadata(field, value)? {
                    self.change(|options| options.with_metadata(name, value));
                }
            }
        }
        Ok(())
    }

    fn change(&mut self, change: impl FnOnce(SubmitOptions) -> SubmitOptions) {
        self.options = change(std::mem::take(&mut self.options));
    }

    fn finish(mut self) -> PyResult<SubmitOptions> {
        let prefix = self.prefix;
        let refused = |text: String| Err(PyValueError::new_err(format!("{prefix}{text}")));
        if self.delay.is_some() && self.run_at.is_some() {
            return refused("delay_secs and run_at must not both be given".into());
        }
        if self.timeout.is_some() && self.no_timeout {
            return refused("timeout_secs and no_timeout must not both be given".into());
        }
        if let (Some(ttl), Some(delay)) = (self.ttl, self.delay)
            && ttl <= delay
        {
            return refused(format!(
                "ttl_secs must be above delay_secs, got {} and {}",
                ttl.as_secs_f64(),
                delay.as_secs_f64()
            ));
        }
        if let Some(delay) = self.delay {
            self.change(|options| options.with_delay(delay));
        }
        if let Some(run_at) = self.run_at {
            self.change(|options| options.with_run_at(run_at));
        }
        if let Some(ttl) = self.ttl {
            self.change(|options| options.with_ttl(ttl));
        }
        if let Some(timeout) = self.timeout {
            self.change(|options| options.with_timeout(timeout));
        }
        if self.no_timeout {
            self.change(SubmitOptions::with_no_timeout);
        }
        Ok(self.options)
    }
}

/// A `datetime` that knows its time zone.
pub(crate) fn moment(field: &str, value: &Bound<'_, PyAny>) -> PyResult<DateTime<Utc>> {
    let class = value.py().import("datetime")?.getattr("datetime")?;
    if !value.is_instance(&class)? {
        return Err(argument::wrong_class(
            field,
            "datetime with a time zone",
            value,
        ));
    }
    if value.call_method0("utcoffset")?.is_none() {
        return Err(PyValueError::new_err(format!(
            "{field} must be a datetime with a time zone, got one without: {}",
            value.repr()?
        )));
    }
    let secs: f64 = value.call_method0("timestamp")?.extract()?;
    DateTime::from_timestamp_micros((secs * 1e6).round() as i64)
        .ok_or_else(|| PyValueError::new_err(format!("{field} is out of range: {value}")))
}

fn unique(field: &str, value: &Bound<'_, PyAny>) -> PyResult<a3s_lane::Unique> {
    if let Ok(unique) = value.cast::<Unique>() {
        return Ok(unique.get().to_core());
    }
    if value.is_instance_of::<PyString>() {
        return Ok(a3s_lane::Unique::new(argument::name(field, value)?));
    }
    Err(argument::wrong_class(field, "str or Unique", value))
}

fn metadata(field: &str, value: &Bound<'_, PyAny>) -> PyResult<serde_json::Map<String, Value>> {
    match to_json(field, value)? {
        Value::Object(map) => Ok(map),
        _ => Err(PyTypeError::new_err(format!(
            "{field} must be a dict, not {}",
            value.get_type().name()?
        ))),
    }
}
