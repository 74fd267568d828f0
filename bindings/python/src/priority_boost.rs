//! How a lane becomes more urgent while its commands wait.

use std::time::Duration;

use a3s_lane::PriorityBoostConfig;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyTuple};

use crate::argument::{self, Given};

/// By how much a lane becomes more urgent as its oldest command approaches its deadline.
///
/// ``deadline_secs`` counts from the submission; a command that has waited so long makes its lane as urgent as priority 0.
/// Each step ``(secs_left, boost)`` takes ``boost``, 0 to 255, off the priority number once at most ``secs_left`` seconds
/// are left; where several match, the shortest wins.
#[pyclass(frozen, eq, from_py_object, module = "a3s_lane")]
#[derive(Clone, PartialEq)]
pub(crate) struct PriorityBoost {
    pub(crate) boost: PriorityBoostConfig,
}

#[pymethods]
impl PriorityBoost {
    #[new]
    #[pyo3(
        signature = (deadline_secs, steps = Given::No),
        text_signature = "(deadline_secs, steps=())"
    )]
    fn new(deadline_secs: &Bound<'_, PyAny>, steps: Given<'_>) -> PyResult<Self> {
        let deadline = argument::seconds_above_zero("deadline_secs", deadline_secs)?;
        let mut boost = PriorityBoostConfig::new(deadline);
        if let Given::Yes(steps) = &steps {
            for (index, step) in iterate(steps)?.enumerate() {
                let (left, by) = read_step(index, &step?, deadline)?;
                boost = boost.with_boost(left, by);
            }
        }
        Ok(Self { boost })
    }

    /// Seconds of waiting after which the lane is as urgent as priority 0.
    #[getter]
    fn deadline_secs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        argument::seconds_to_python(py, self.boost.deadline)
    }

    /// The steps ``(secs_left, boost)``, the longest time left first.
    #[getter]
    fn steps<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let steps: Vec<(Bound<'_, PyAny>, u8)> = self
            .boost
            .boost_intervals
            .iter()
            .map(|&(left, by)| Ok((argument::seconds_to_python(py, left)?, by)))
            .collect::<PyResult<_>>()?;
        PyTuple::new(py, steps)
    }

    /// Lets `pickle` and `copy` make the same boost again.
    fn __getnewargs__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        Ok((self.deadline_secs(py)?, self.steps(py)?))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "PriorityBoost(deadline_secs={}, steps={})",
            self.deadline_secs(py)?,
            self.steps(py)?.repr()?
        ))
    }
}

fn iterate<'py>(steps: &Bound<'py, PyAny>) -> PyResult<Bound<'py, pyo3::types::PyIterator>> {
    steps
        .try_iter()
        .map_err(|_| argument::wrong_class("steps", "list of (secs_left, boost)", steps))
}

fn read_step(
    index: usize,
    step: &Bound<'_, PyAny>,
    deadline: Duration,
) -> PyResult<(Duration, u8)> {
    let field = format!("steps[{index}]");
    let Ok((left, by)) = step.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>() else {
        return Err(argument::wrong_class(
            &field,
            "tuple (secs_left, boost)",
            step,
        ));
    };
    let left = argument::seconds(&format!("{field}[0]"), &left)?;
    if left > deadline {
        return Err(PyValueError::new_err(format!(
            "{field}[0] must not be above deadline_secs, got {} and {}",
            left.as_secs_f64(),
            deadline.as_secs_f64()
        )));
    }
    let by = argument::integer(&format!("{field}[1]"), &by, 0..=u8::MAX)?;
    Ok((left, by))
}
