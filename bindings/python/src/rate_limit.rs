//! How many commands of one lane may start per unit of time.

use a3s_lane::RateLimitConfig;
use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::argument;

/// At most so many starts per window of time.
///
/// ``max_commands`` is 1 to 2**53 - 1, ``window_secs`` is seconds above 0, ``int`` or ``float``. A lane that was idle may
/// start ``max_commands`` at once, or its ``burst`` where :class:`LaneConfig` sets one.
#[pyclass(frozen, eq, from_py_object, module = "a3s_lane")]
#[derive(Clone, PartialEq)]
pub(crate) struct RateLimit {
    pub(crate) limit: RateLimitConfig,
}

/// A limit from the two arguments that all limits have.
pub(crate) fn limit(
    max_commands: &Bound<'_, PyAny>,
    window_secs: &Bound<'_, PyAny>,
) -> PyResult<RateLimitConfig> {
    Ok(RateLimitConfig::new(
        argument::amount("max_commands", max_commands, 1)?,
        argument::seconds_above_zero("window_secs", window_secs)?,
    ))
}

#[pymethods]
impl RateLimit {
    #[new]
    fn new(max_commands: &Bound<'_, PyAny>, window_secs: &Bound<'_, PyAny>) -> PyResult<Self> {
        let limit = limit(max_commands, window_secs)?;
        Ok(Self { limit })
    }

    /// Most starts per window.
    #[getter]
    fn max_commands(&self) -> u64 {
        self.limit.max_commands
    }

    /// Seconds of one window.
    #[getter]
    fn window_secs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        argument::seconds_to_python(py, self.limit.window)
    }

    /// Lets `pickle` and `copy` make the same limit again.
    fn __getnewargs__<'py>(&self, py: Python<'py>) -> PyResult<(u64, Bound<'py, PyAny>)> {
        Ok((self.max_commands(), self.window_secs(py)?))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "RateLimit(max_commands={}, window_secs={})",
            self.max_commands(),
            self.window_secs(py)?
        ))
    }
}
