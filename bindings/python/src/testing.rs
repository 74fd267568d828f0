//! Tools for tests of code that uses lanes: a clock that is moved by hand, a log of submissions, and lanes with them.

use a3s_lane::{LaneError, testing};
use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyList, PyString};
use serde_json::Value;

use crate::argument::{self, Given};
use crate::builder;
use crate::error::raise;
use crate::from_json::from_json;
use crate::lane::Lane;
use crate::process::ProcessLocal;
use crate::scripted::queue_of;
use crate::wait::wait;

/// The time of a lane, for tests: it stands still until :meth:`advance` moves it.
///
/// Delays, time limits, ``ttl_secs``, rate limits and boosts of a :class:`Lane` from :func:`create_lane` go by it. The bodies
/// of commands do not: one that sleeps sleeps in real time. One clock may serve several lanes.
#[pyclass(frozen, module = "a3s_lane.testing")]
pub(crate) struct ManualClock {
    clock: ProcessLocal<testing::ManualClock>,
}

impl ManualClock {
    fn clock(&self, py: Python<'_>) -> PyResult<&testing::ManualClock> {
        self.clock
            .get("ManualClock")
            .map_err(|error| raise(py, &error))
    }
}

#[pymethods]
impl ManualClock {
    #[new]
    fn new() -> Self {
        Self {
            clock: ProcessLocal::new(testing::ManualClock::new()),
        }
    }

    /// Moves the time on. What becomes due runs soon after; :func:`drain_now` waits for that.
    fn advance(&self, py: Python<'_>, secs: &Bound<'_, PyAny>) -> PyResult<()> {
        let by = argument::seconds("secs", secs)?;
        self.clock(py)?.advance(by);
        Ok(())
    }

    /// The seconds since the clock was made, as moved by hand.
    #[getter]
    fn elapsed_secs(&self, py: Python<'_>) -> PyResult<f64> {
        Ok(self.clock(py)?.elapsed().as_secs_f64())
    }
}

/// Remembers what a lane accepts, so that a test can ask whether code under test has submitted something.
///
/// It belongs to a :class:`Lane` from :func:`create_lane`, and grows with each command: for tests only.
#[pyclass(frozen, module = "a3s_lane.testing")]
pub(crate) struct SubmissionLog {
    log: ProcessLocal<testing::SubmissionLog>,
}

impl SubmissionLog {
    fn log(&self, py: Python<'_>) -> PyResult<&testing::SubmissionLog> {
        self.log
            .get("SubmissionLog")
            .map_err(|error| raise(py, &error))
    }

    /// Everything so far, and the first command of this type that was submitted to this lane.
    fn find(
        &self,
        py: Python<'_>,
        lane_id: &str,
        command_type: &str,
    ) -> PyResult<(Vec<Submitted>, Option<Submitted>)> {
        let all = self.submitted(py)?;
        let mut same = all.iter();
        let found = same.find(|it| it.lane_id == lane_id && it.command_type == command_type);
        let found = found.cloned();
        Ok((all, found))
    }
}

#[pymethods]
impl SubmissionLog {
    #[new]
    fn new() -> Self {
        Self {
            log: ProcessLocal::new(testing::SubmissionLog::new()),
        }
    }

    /// Everything so far, in the order of acceptance.
    fn submitted(&self, py: Python<'_>) -> PyResult<Vec<Submitted>> {
        let submitted = self.log(py)?.submitted().into_iter();
        Ok(submitted.map(Submitted::new).collect())
    }

    /// The first command of this type that was submitted to this lane.
    ///
    /// Raises ``AssertionError`` when there is none; the text says what was submitted instead.
    fn assert_submitted(
        &self,
        py: Python<'_>,
        lane_id: &Bound<'_, PyAny>,
        command_type: &Bound<'_, PyAny>,
    ) -> PyResult<Submitted> {
        let lane_id = argument::text("lane_id", lane_id)?;
        let command_type = argument::text("command_type", command_type)?;
        let (all, found) = self.find(py, &lane_id, &command_type)?;
        if let Some(found) = found {
            return Ok(found);
        }
        let all = all.into_iter().map(|it| (it.lane_id, it.command_type));
        let all = PyList::new(py, all)?;
        let (kind, lane) = (
            PyString::new(py, &command_type),
            PyString::new(py, &lane_id),
        );
        Err(PyAssertionError::new_err(format!(
            "no {} was submitted to {}, only {}",
            kind.repr()?,
            lane.repr()?,
            all.repr()?
        )))
    }

    /// Raises ``AssertionError`` when a command of this type was submitted to this lane.
    fn assert_not_submitted(
        &self,
        py: Python<'_>,
        lane_id: &Bound<'_, PyAny>,
        command_type: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let lane_id = argument::text("lane_id", lane_id)?;
        let command_type = argument::text("command_type", command_type)?;
        match self.find(py, &lane_id, &command_type)? {
            (_, None) => Ok(()),
            (_, Some(found)) => Err(PyAssertionError::new_err(format!(
                "{} was submitted",
                found.__repr__(py)?
            ))),
        }
    }
}

/// One accepted command.
#[pyclass(frozen, eq, module = "a3s_lane.testing")]
#[derive(Clone, PartialEq)]
pub(crate) struct Submitted {
    /// Its lane.
    #[pyo3(get)]
    lane_id: String,
    /// What kind of work it is.
    #[pyo3(get)]
    command_type: String,
    payload: Value,
}

impl Submitted {
    fn new(submitted: testing::Submitted) -> Self {
        Self {
            lane_id: submitted.lane_id,
            command_type: submitted.command_type,
            payload: submitted.payload.unwrap_or_default(),
        }
    }
}

#[pymethods]
impl Submitted {
    /// Its payload, or its script.
    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        from_json(py, &self.payload)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "Submitted(lane_id={}, command_type={}, payload={})",
            PyString::new(py, &self.lane_id).repr()?,
            PyString::new(py, &self.command_type).repr()?,
            self.payload(py)?.repr()?
        ))
    }
}

/// A ``Lane`` that tests can steer: the lanes of ``configs``, or the six of ``Lane()``.
///
/// It goes by ``clock``. With ``inline``, once it has started, a submission returns when its command has run, and everything
/// else that could run without time going on. ``submission_log`` remembers what it accepts. The other arguments are those
/// of :class:`Lane`.
#[pyfunction]
#[pyo3(
    signature = (configs = None, *, clock = None, inline = Given::No, submission_log = None, **settings),
    text_signature = "(configs=None, *, clock=None, inline=False, submission_log=None, dlq_size=None, max_concurrency=None, limiters=None, handler_threads=None, metrics=False, alerts=None, event_capacity=None, storage=None, durability='full', max_crashes=3, results=None, history=None, max_dead_letters=10000)"
)]
pub(crate) fn create_lane(
    py: Python<'_>,
    configs: Option<&Bound<'_, PyAny>>,
    clock: Option<&Bound<'_, PyAny>>,
    inline: Given<'_>,
    submission_log: Option<&Bound<'_, PyAny>>,
    settings: Option<&Bound<'_, PyDict>>,
) -> PyResult<Lane> {
    let callee = "create_lane()";
    let mut plan = match configs {
        None => builder::default_lanes(callee, settings)?,
        Some(configs) => builder::lanes_of(configs, callee, settings)?,
    };
    if let Some(clock) = clock {
        let known = clock.cast::<ManualClock>();
        let known = known.map_err(|_| argument::wrong_class("clock", "ManualClock", clock))?;
        plan.builder = plan.builder.with_clock(known.get().clock(py)?.clone());
    }
    if let Some(log) = submission_log {
        let known = log.cast::<SubmissionLog>();
        let known =
            known.map_err(|_| argument::wrong_class("submission_log", "SubmissionLog", log))?;
        plan.builder = plan
            .builder
            .with_submission_log(known.get().log(py)?.clone());
    }
    let inline = match inline {
        Given::No => false,
        Given::Yes(value) => argument::flag("inline", &value)?,
    };
    plan.builder = plan.builder.with_inline(inline);
    plan.inline = inline;
    Lane::build(py, plan)
}

/// Runs everything that waits, without waiting for its time: where only delays, back-offs or rate limits are left, a
/// :class:`ManualClock` is moved on to the next one. Returns how many commands are left, which nothing but a resume or
/// another limit can start.
///
/// With the real clock it waits for delays. Raises :class:`NotStartedError` before :meth:`Lane.start`.
#[pyfunction]
pub(crate) fn drain_now(py: Python<'_>, lane: &Bound<'_, PyAny>) -> PyResult<usize> {
    let manager = &queue_of(lane)?.queue(py)?.manager;
    if !manager.is_started() {
        let error = LaneError::NotStarted("call start() before drain_now()".into());
        return Err(raise(py, &error));
    }
    wait(py, testing::drain_now(manager))
}
