//! The settings of one lane.

use std::ops::RangeInclusive;

use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyMappingProxy, PyString, PyTuple};

use crate::argument::{self, Given, given};
use crate::lane_options::{self, JITTERS, LaneOptions, OVERFLOWS, word};
use crate::priority_boost::PriorityBoost;
use crate::rate_limit::RateLimit;
use crate::retry_policy::{self, RetryPolicy};

const PRIORITY: RangeInclusive<u8> = 0..=u8::MAX;
const FROM_ZERO: RangeInclusive<u32> = 0..=u32::MAX;
const FROM_ONE: RangeInclusive<u32> = 1..=u32::MAX;

/// The settings of one lane.
///
/// ``priority`` is 0 (most urgent) to 255. ``max_concurrency`` is how many commands run at once, ``min_concurrency`` how
/// many slots are kept for the lane where all lanes share a total. ``timeout_secs`` limits each attempt, in seconds
/// (``int`` or ``float``, above 0). At ``pressure_threshold`` pending commands the lane reports ``queue.lane.pressure``.
/// What the other arguments mean stands with the attributes of their names. Attributes can be changed until the
/// configuration is given to :meth:`Lane.with_lanes` or :meth:`Lane.set_lane`, which copy it.
#[pyclass(eq, module = "a3s_lane")]
#[derive(Clone, PartialEq)]
pub(crate) struct LaneConfig {
    pub(crate) lane_id: String,
    pub(crate) priority: u8,
    config: a3s_lane::LaneConfig,
    retry_policy: Option<RetryPolicy>,
    options: LaneOptions,
}

impl LaneConfig {
    /// Whether a submission to a full lane waits.
    pub(crate) fn waits(&self) -> bool {
        matches!(self.options.overflow, a3s_lane::Overflow::Wait)
    }

    /// The settings that came after those of [`a3s_lane::LaneConfig`], as the core knows them.
    pub(crate) fn to_core_options(&self) -> a3s_lane::LaneOptions {
        self.options.to_core()
    }

    /// The settings as the core knows them.
    pub(crate) fn to_core(&self) -> a3s_lane::LaneConfig {
        let mut config = self.config.clone();
        if let Some(retry) = &self.retry_policy {
            config.retry_policy = retry.policy.clone();
        }
        config
    }

    /// Sets what is given by keyword; false when there is nothing of this name.
    fn set(&mut self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        match name {
            "retry_policy" => self.set_retry_policy(given(value))?,
            "max_pending" => self.set_max_pending(given(value))?,
            "overflow" => self.set_overflow(value)?,
            "preemptible" => self.set_preemptible(value)?,
            "grace_secs" => self.set_grace_secs(value)?,
            "progress_timeout_secs" => self.set_progress_timeout_secs(given(value))?,
            "max_concurrency_per_key" => self.set_max_concurrency_per_key(given(value))?,
            "key_weights" => self.set_key_weights(given(value))?,
            "retry_jitter" => self.set_retry_jitter(value)?,
            "rate_limit" => self.set_rate_limit(given(value))?,
            "burst" => self.set_burst(given(value))?,
            "priority_boost" => self.set_priority_boost(given(value))?,
            "limiters" => self.set_limiters(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[pymethods]
impl LaneConfig {
    #[new]
    #[pyo3(
        signature = (
            lane_id,
            priority,
            min_concurrency = Given::No,
            max_concurrency = Given::No,
            timeout_secs = None,
            pressure_threshold = None,
            **options
        ),
        text_signature = "(lane_id, priority, min_concurrency=1, max_concurrency=10, timeout_secs=None, pressure_threshold=None, *, retry_policy=None, max_pending=None, overflow='reject', preemptible=False, grace_secs=0, progress_timeout_secs=None, max_concurrency_per_key=None, key_weights=None, retry_jitter='none', rate_limit=None, burst=None, priority_boost=None, limiters=())"
    )]
    fn new(
        lane_id: &Bound<'_, PyAny>,
        priority: &Bound<'_, PyAny>,
        min_concurrency: Given<'_>,
        max_concurrency: Given<'_>,
        timeout_secs: Option<&Bound<'_, PyAny>>,
        pressure_threshold: Option<&Bound<'_, PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let mut config = Self {
            lane_id: String::new(),
            priority: 0,
            config: a3s_lane::LaneConfig::new(1, 10),
            retry_policy: None,
            options: LaneOptions::default(),
        };
        config.set_lane_id(lane_id)?;
        config.set_priority(priority)?;
        if let Given::Yes(value) = &min_concurrency {
            config.set_min_concurrency(value)?;
        }
        if let Given::Yes(value) = &max_concurrency {
            config.set_max_concurrency(value)?;
        }
        config.set_timeout_secs(timeout_secs)?;
        config.set_pressure_threshold(pressure_threshold)?;
        for (name, value) in options.into_iter().flatten() {
            let name = argument::text("the name of a setting", &name)?;
            if !config.set(&name, &value)? {
                return Err(argument::unexpected("LaneConfig()", &name));
            }
        }
        Ok(config)
    }

    /// The name of the lane; not empty.
    #[getter]
    fn lane_id(&self) -> &str {
        &self.lane_id
    }

    #[setter]
    fn set_lane_id(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.lane_id = argument::name("lane_id", value)?;
        Ok(())
    }

    /// How urgent the lane is: 0 is the most urgent, 255 the least.
    #[getter]
    fn priority(&self) -> u8 {
        self.priority
    }

    #[setter]
    fn set_priority(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.priority = argument::integer("priority", value, PRIORITY)?;
        Ok(())
    }

    /// Slots kept for this lane where all lanes share a total, 0 to 4294967295; not above ``max_concurrency``.
    #[getter]
    fn min_concurrency(&self) -> usize {
        self.config.min_concurrency
    }

    #[setter]
    fn set_min_concurrency(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.config.min_concurrency = argument::count("min_concurrency", value, FROM_ZERO)?;
        Ok(())
    }

    /// Most commands of this lane that run at once, 1 to 4294967295.
    #[getter]
    fn max_concurrency(&self) -> usize {
        self.config.max_concurrency
    }

    #[setter]
    fn set_max_concurrency(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.config.max_concurrency = argument::count("max_concurrency", value, FROM_ONE)?;
        Ok(())
    }

    /// Most seconds that one attempt may take; ``None`` means no limit.
    #[getter]
    fn timeout_secs<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.config
            .default_timeout
            .map(|timeout| argument::seconds_to_python(py, timeout))
            .transpose()
    }

    #[setter]
    fn set_timeout_secs(&mut self, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.config.default_timeout = value
            .map(|value| argument::seconds_above_zero("timeout_secs", value))
            .transpose()?;
        Ok(())
    }

    /// Pending commands at which the lane reports pressure, 1 to 4294967295; ``None`` means never.
    #[getter]
    fn pressure_threshold(&self) -> Option<usize> {
        self.config.pressure_threshold
    }

    #[setter]
    fn set_pressure_threshold(&mut self, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.config.pressure_threshold = value
            .map(|value| argument::count("pressure_threshold", value, FROM_ONE))
            .transpose()?;
        Ok(())
    }

    /// How often a failed command runs again; ``None`` means never.
    #[getter]
    fn retry_policy(&self) -> Option<RetryPolicy> {
        self.retry_policy.clone()
    }

    #[setter]
    fn set_retry_policy(&mut self, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.retry_policy = value
            .map(|value| retry_policy::read("retry_policy", value))
            .transpose()?;
        Ok(())
    }

    /// Most commands that wait in the lane, 1 to 4294967295; ``None`` means no bound. See ``overflow``.
    #[getter]
    fn max_pending(&self) -> Option<usize> {
        self.options.max_pending
    }

    #[setter]
    fn set_max_pending(&mut self, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.options.max_pending = value
            .map(|value| argument::count("max_pending", value, FROM_ONE))
            .transpose()?;
        Ok(())
    }

    /// What happens to a new command when ``max_pending`` wait: ``"reject"`` refuses it with :class:`LaneFullError`,
    /// ``"wait"`` makes its submitter wait for room, ``"drop_oldest"`` cancels the one that was submitted first among those
    /// ready to run. A retry always finds room.
    #[getter]
    fn overflow(&self) -> &'static str {
        word(&OVERFLOWS, &self.options.overflow).unwrap_or_default()
    }

    #[setter]
    fn set_overflow(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.options.overflow = argument::choice("overflow", value, &OVERFLOWS)?;
        Ok(())
    }

    /// Whether a running command of this lane may be stopped and queued again, at the front, when a more urgent lane lacks
    /// only the total of slots.
    #[getter]
    fn preemptible(&self) -> bool {
        self.options.preemptible
    }

    #[setter]
    fn set_preemptible(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.options.preemptible = argument::flag("preemptible", value)?;
        Ok(())
    }

    /// Seconds for which a running command may go on after it was cancelled or preempted; 0 stops it at once.
    #[getter]
    fn grace_secs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        argument::seconds_to_python(py, self.options.grace)
    }

    #[setter]
    fn set_grace_secs(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.options.grace = argument::seconds("grace_secs", value)?;
        Ok(())
    }

    /// Most seconds that a running command may go without progress or a heartbeat, else the attempt fails with
    /// :class:`StalledError`; ``None`` means no limit.
    #[getter]
    fn progress_timeout_secs<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.options
            .progress_timeout
            .map(|limit| argument::seconds_to_python(py, limit))
            .transpose()
    }

    #[setter]
    fn set_progress_timeout_secs(&mut self, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.options.progress_timeout = value
            .map(|value| argument::seconds_above_zero("progress_timeout_secs", value))
            .transpose()?;
        Ok(())
    }

    /// Most commands of one ``key`` that run at once in this lane, 1 to 4294967295; ``None`` means no limit of its own.
    #[getter]
    fn max_concurrency_per_key(&self) -> Option<usize> {
        self.options.max_concurrency_per_key
    }

    #[setter]
    fn set_max_concurrency_per_key(&mut self, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.options.max_concurrency_per_key = value
            .map(|value| argument::count("max_concurrency_per_key", value, FROM_ONE))
            .transpose()?;
        Ok(())
    }

    /// How large a share of the lane a key has, 1 to 4294967295: a key of weight 3 is served three times as often as one of
    /// weight 1. Keys that are not named have weight 1. Set it as a whole: what is returned is read-only.
    #[getter]
    fn key_weights<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyMappingProxy>> {
        let weights = self.options.key_weights.clone().into_pyobject(py)?;
        Ok(PyMappingProxy::new(py, weights.as_mapping()))
    }

    #[setter]
    fn set_key_weights(&mut self, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.options.key_weights = value
            .map(lane_options::key_weights)
            .transpose()?
            .unwrap_or_default();
        Ok(())
    }

    /// How much of a retry's delay is left to chance: ``"none"``, ``"full"`` (anything from zero to the delay) or
    /// ``"equal"`` (anything from half the delay to the delay).
    #[getter]
    fn retry_jitter(&self) -> &'static str {
        word(&JITTERS, &self.options.retry_jitter).unwrap_or_default()
    }

    #[setter]
    fn set_retry_jitter(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.options.retry_jitter = argument::choice("retry_jitter", value, &JITTERS)?;
        Ok(())
    }

    /// How many commands may start per window of time; ``None`` means no limit.
    #[getter]
    fn rate_limit(&self) -> Option<RateLimit> {
        let limit = self.config.rate_limit.clone();
        limit.map(|limit| RateLimit { limit })
    }

    #[setter]
    fn set_rate_limit(&mut self, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.config.rate_limit = value
            .map(|value| {
                value
                    .cast::<RateLimit>()
                    .map(|limit| limit.get().limit.clone())
                    .map_err(|_| argument::wrong_class("rate_limit", "RateLimit or None", value))
            })
            .transpose()?;
        Ok(())
    }

    /// Most commands that a lane with a ``rate_limit`` starts at once after it was idle, 1 to 2**53 - 1; ``None`` means the
    /// limit's ``max_commands``.
    #[getter]
    fn burst(&self) -> Option<u64> {
        self.options.burst
    }

    #[setter]
    fn set_burst(&mut self, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.options.burst = value
            .map(|value| argument::amount("burst", value, 1))
            .transpose()?;
        Ok(())
    }

    /// How the lane becomes more urgent while its commands wait; ``None`` means not at all.
    #[getter]
    fn priority_boost(&self) -> Option<PriorityBoost> {
        let boost = self.config.priority_boost.clone();
        boost.map(|boost| PriorityBoost { boost })
    }

    #[setter]
    fn set_priority_boost(&mut self, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.config.priority_boost = value
            .map(|value| {
                value
                    .cast::<PriorityBoost>()
                    .map(|boost| boost.get().boost.clone())
                    .map_err(|_| {
                        argument::wrong_class("priority_boost", "PriorityBoost or None", value)
                    })
            })
            .transpose()?;
        Ok(())
    }

    /// The names of the limiters that every start of this lane must pass, at most 4. The ``Lane`` has them by name.
    #[getter]
    fn limiters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.options.limiters)
    }

    #[setter]
    fn set_limiters(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.options.limiters = lane_options::limiters(value)?;
        Ok(())
    }

    /// Lets `pickle` and `copy` make the same configuration again.
    fn __getnewargs_ex__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyDict>)> {
        let positional = (
            self.lane_id.as_str(),
            self.priority,
            self.config.min_concurrency,
            self.config.max_concurrency,
            self.timeout_secs(py)?,
            self.config.pressure_threshold,
        );
        let keywords = PyDict::new(py);
        keywords.set_item("retry_policy", self.retry_policy.clone())?;
        keywords.set_item("max_pending", self.options.max_pending)?;
        keywords.set_item("overflow", self.overflow())?;
        keywords.set_item("preemptible", self.options.preemptible)?;
        keywords.set_item("grace_secs", self.grace_secs(py)?)?;
        keywords.set_item("progress_timeout_secs", self.progress_timeout_secs(py)?)?;
        keywords.set_item("max_concurrency_per_key", self.max_concurrency_per_key())?;
        // A copy of its own: the read-only view cannot be pickled.
        keywords.set_item("key_weights", self.options.key_weights.clone())?;
        keywords.set_item("retry_jitter", self.retry_jitter())?;
        keywords.set_item("rate_limit", self.rate_limit())?;
        keywords.set_item("burst", self.options.burst)?;
        keywords.set_item("priority_boost", self.priority_boost())?;
        keywords.set_item("limiters", self.limiters(py)?)?;
        Ok((positional.into_pyobject(py)?.into_any(), keywords))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "LaneConfig(lane_id={}, priority={}, min={}, max={})",
            PyString::new(py, &self.lane_id).repr()?,
            self.priority,
            self.config.min_concurrency,
            self.config.max_concurrency
        ))
    }
}
