//! How often and how soon a failed command runs again.

use std::ops::RangeInclusive;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyTuple};

use crate::argument;

const RETRIES: RangeInclusive<u32> = 0..=u32::MAX;

/// How often and how soon a failed command runs again.
///
/// Retry ``n`` waits ``initial_delay_secs * multiplier ** (n - 1)``, at most ``max_delay_secs``. What is not given is as
/// in :meth:`exponential`: 0.1 s, 30 s and 2. Times are seconds, ``int`` or ``float``.
#[pyclass(frozen, eq, from_py_object, module = "a3s_lane")]
#[derive(Clone, PartialEq)]
pub(crate) struct RetryPolicy {
    pub(crate) policy: a3s_lane::RetryPolicy,
}

#[pymethods]
impl RetryPolicy {
    #[new]
    #[pyo3(signature = (
        *,
        max_retries,
        initial_delay_secs = None,
        max_delay_secs = None,
        multiplier = None
    ))]
    fn new(
        max_retries: &Bound<'_, PyAny>,
        initial_delay_secs: Option<&Bound<'_, PyAny>>,
        max_delay_secs: Option<&Bound<'_, PyAny>>,
        multiplier: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let mut policy = a3s_lane::RetryPolicy::exponential(retries(max_retries)?);
        if let Some(secs) = initial_delay_secs {
            policy.initial_delay = argument::seconds("initial_delay_secs", secs)?;
        }
        if let Some(secs) = max_delay_secs {
            policy.max_delay = argument::seconds("max_delay_secs", secs)?;
        }
        if let Some(factor) = multiplier {
            policy.multiplier = argument::number_from("multiplier", factor, 0.0)?;
        }
        if policy.max_delay < policy.initial_delay {
            return Err(PyValueError::new_err(format!(
                "max_delay_secs must be at least initial_delay_secs, got {} and {}",
                policy.max_delay.as_secs_f64(),
                policy.initial_delay.as_secs_f64()
            )));
        }
        Ok(Self { policy })
    }

    /// Waits 0.1 s before the first retry, then twice as long each time, at most 30 s.
    #[staticmethod]
    fn exponential(max_retries: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self {
            policy: a3s_lane::RetryPolicy::exponential(retries(max_retries)?),
        })
    }

    /// Waits ``delay_secs`` before each retry.
    #[staticmethod]
    fn fixed(max_retries: &Bound<'_, PyAny>, delay_secs: &Bound<'_, PyAny>) -> PyResult<Self> {
        let delay = argument::seconds("delay_secs", delay_secs)?;
        Ok(Self {
            policy: a3s_lane::RetryPolicy::fixed(retries(max_retries)?, delay),
        })
    }

    /// Never retries: a failure is final.
    #[staticmethod]
    fn none() -> Self {
        Self {
            policy: a3s_lane::RetryPolicy::none(),
        }
    }

    /// Most retries after the first attempt.
    #[getter]
    fn max_retries(&self) -> u32 {
        self.policy.max_retries
    }

    /// Seconds before the first retry.
    #[getter]
    fn initial_delay_secs(&self) -> f64 {
        self.policy.initial_delay.as_secs_f64()
    }

    /// Most seconds before any retry.
    #[getter]
    fn max_delay_secs(&self) -> f64 {
        self.policy.max_delay.as_secs_f64()
    }

    /// Factor from one delay to the next.
    #[getter]
    fn multiplier(&self) -> f64 {
        self.policy.multiplier
    }

    /// How many seconds retry ``attempt`` waits, counted from 1; 0.0 without retries.
    fn delay_secs_for_attempt(&self, attempt: &Bound<'_, PyAny>) -> PyResult<f64> {
        let attempt = argument::integer("attempt", attempt, RETRIES)?;
        let delay: Duration = self.policy.delay_for_attempt(attempt);
        Ok(delay.as_secs_f64())
    }

    /// Lets `pickle` and `copy` make the same policy again.
    fn __getnewargs_ex__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let keywords = PyDict::new(py);
        keywords.set_item("max_retries", self.max_retries())?;
        keywords.set_item("initial_delay_secs", self.initial_delay_secs())?;
        keywords.set_item("max_delay_secs", self.max_delay_secs())?;
        keywords.set_item("multiplier", self.multiplier())?;
        Ok((PyTuple::empty(py), keywords))
    }

    fn __repr__(&self) -> String {
        let policy = &self.policy;
        format!(
            "RetryPolicy(max_retries={}, initial_delay_secs={:?}, max_delay_secs={:?}, multiplier={:?})",
            policy.max_retries,
            policy.initial_delay.as_secs_f64(),
            policy.max_delay.as_secs_f64(),
            policy.multiplier
        )
    }
}

fn retries(value: &Bound<'_, PyAny>) -> PyResult<u32> {
    argument::integer("max_retries", value, RETRIES)
}

/// A `RetryPolicy`.
pub(crate) fn read(field: &str, value: &Bound<'_, PyAny>) -> PyResult<RetryPolicy> {
    value
        .extract::<RetryPolicy>()
        .map_err(|_| argument::wrong_class(field, "RetryPolicy or None", value))
}
