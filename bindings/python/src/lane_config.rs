//! The settings of one lane.

use std::ops::RangeInclusive;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyString};

use crate::argument::{self, Given};
use crate::retry_policy::RetryPolicy;

const PRIORITY: RangeInclusive<u64> = 0..=u8::MAX as u64;
const MIN_CONCURRENCY: RangeInclusive<u64> = 0..=u32::MAX as u64;
const MAX_CONCURRENCY: RangeInclusive<u64> = 1..=u32::MAX as u64;
const PRESSURE_THRESHOLD: RangeInclusive<u64> = 1..=u32::MAX as u64;

/// The settings of one lane.
///
/// ``priority`` is 0 (most urgent) to 255. ``max_concurrency`` is how many commands run at once, ``min_concurrency`` how
/// many slots are kept for the lane where all lanes share a total. ``timeout_secs`` limits each attempt, in seconds
/// (``int`` or ``float``, above 0). At ``pressure_threshold`` pending commands the lane reports ``queue.lane.pressure``.
/// Attributes can be changed until the configuration is given to :meth:`Lane.with_lanes`, which copies it.
#[pyclass(eq, module = "a3s_lane")]
#[derive(Clone, PartialEq)]
pub(crate) struct LaneConfig {
    pub(crate) lane_id: String,
    pub(crate) priority: u8,
    config: a3s_lane::LaneConfig,
    retry_policy: Option<RetryPolicy>,
}

impl LaneConfig {
    /// The settings as the core knows them.
    pub(crate) fn to_core(&self) -> a3s_lane::LaneConfig {
        let mut config = self.config.clone();
        if let Some(retry) = &self.retry_policy {
            config.retry_policy = retry.policy.clone();
        }
        config
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
            *,
            retry_policy = None
        ),
        text_signature = "(lane_id, priority, min_concurrency=1, max_concurrency=10, timeout_secs=None, pressure_threshold=None, *, retry_policy=None)"
    )]
    fn new(
        lane_id: &Bound<'_, PyAny>,
        priority: &Bound<'_, PyAny>,
        min_concurrency: Given<'_>,
        max_concurrency: Given<'_>,
        timeout_secs: Option<&Bound<'_, PyAny>>,
        pressure_threshold: Option<&Bound<'_, PyAny>>,
        retry_policy: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let mut config = Self {
            lane_id: String::new(),
            priority: 0,
            config: a3s_lane::LaneConfig::new(1, 10),
            retry_policy: None,
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
        config.set_retry_policy(retry_policy)?;
        Ok(config)
    }

    /// The name of the lane; not empty.
    #[getter]
    fn lane_id(&self) -> &str {
        &self.lane_id
    }

    #[setter]
    fn set_lane_id(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let lane_id = argument::text("lane_id", value)?;
        if lane_id.is_empty() {
            return Err(PyValueError::new_err("lane_id must not be empty"));
        }
        self.lane_id = lane_id;
        Ok(())
    }

    /// How urgent the lane is: 0 is the most urgent, 255 the least.
    #[getter]
    fn priority(&self) -> u8 {
        self.priority
    }

    #[setter]
    fn set_priority(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let priority = argument::integer("priority", value, PRIORITY)?;
        self.priority = u8::try_from(priority).unwrap_or(u8::MAX);
        Ok(())
    }

    /// Slots kept for this lane where all lanes share a total, 0 to 4294967295; not above ``max_concurrency``.
    #[getter]
    fn min_concurrency(&self) -> usize {
        self.config.min_concurrency
    }

    #[setter]
    fn set_min_concurrency(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.config.min_concurrency = count("min_concurrency", value, MIN_CONCURRENCY)?;
        Ok(())
    }

    /// Most commands of this lane that run at once, 1 to 4294967295.
    #[getter]
    fn max_concurrency(&self) -> usize {
        self.config.max_concurrency
    }

    #[setter]
    fn set_max_concurrency(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.config.max_concurrency = count("max_concurrency", value, MAX_CONCURRENCY)?;
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
        let timeout = value
            .map(|value| argument::seconds("timeout_secs", value))
            .transpose()?;
        if timeout == Some(Duration::ZERO) {
            return Err(PyValueError::new_err("timeout_secs must be above 0, got 0"));
        }
        self.config.default_timeout = timeout;
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
            .map(|value| count("pressure_threshold", value, PRESSURE_THRESHOLD))
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
            .map(|value| {
                value.extract::<RetryPolicy>().map_err(|_| {
                    argument::wrong_class("retry_policy", "RetryPolicy or None", value)
                })
            })
            .transpose()?;
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

fn count(field: &str, value: &Bound<'_, PyAny>, range: RangeInclusive<u64>) -> PyResult<usize> {
    let count = argument::integer(field, value, range)?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}
