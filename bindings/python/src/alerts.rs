//! Alerts about lanes that are too deep or too slow, and the Python functions that hear of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use a3s_lane::{AlertLevel, LatencyAlertConfig, QueueDepthAlertConfig};
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyString};

use crate::error::raise;
use crate::interned::interned;
use crate::outbox::{Outbox, Parcel};
use crate::process::ProcessLocal;
use crate::wait::wait;
use crate::{argument, guarded};

/// One alert about one lane.
#[pyclass(frozen, eq, get_all, module = "a3s_lane")]
#[derive(PartialEq)]
pub(crate) struct Alert {
    /// How serious it is: ``"warning"`` or ``"critical"``.
    level: &'static str,
    /// The lane it is about.
    lane_id: String,
    /// A sentence for people.
    message: String,
    /// The commands that wait, or the latency in milliseconds.
    current_value: f64,
    /// The threshold that was reached, in the same unit.
    threshold: f64,
}

impl Alert {
    fn new(alert: a3s_lane::Alert) -> Self {
        Self {
            level: match alert.level {
                AlertLevel::Info => "info",
                AlertLevel::Warning => "warning",
                AlertLevel::Critical => "critical",
            },
            lane_id: alert.lane_id,
            message: alert.message,
            current_value: alert.current_value,
            threshold: alert.threshold,
        }
    }
}

#[pymethods]
impl Alert {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "Alert(level='{}', lane_id={}, message={})",
            self.level,
            PyString::new(py, &self.lane_id).repr()?,
            PyString::new(py, &self.message).repr()?
        ))
    }
}

/// Calls back when a lane is too deep or its commands are too slow. Give it to ``Lane`` as ``alerts``.
///
/// ``queue_depth`` and ``latency_ms`` are each a pair ``(warning, critical)``, or ``None`` for no such alerts: how many commands
/// wait in a lane, 1 to 4294967295, and how many milliseconds the attempt of a completed command took, at least 0. A threshold is
/// reached by what is equal to it or above it. A lane's depth raises an alert when its level rises, so that a long queue does
/// not call back for each command in it; a latency does for each command. One may serve several ``Lane`` objects.
#[pyclass(frozen, module = "a3s_lane")]
pub(crate) struct AlertManager {
    alerts: ProcessLocal<Alerts>,
}

struct Alerts {
    core: Arc<a3s_lane::AlertManager>,
    callbacks: Arc<Callbacks>,
}

/// Functions that are called with each alert, in the order in which they were added.
#[derive(Default)]
struct Callbacks(Mutex<Vec<Py<PyAny>>>);

impl Callbacks {
    fn lock(&self) -> MutexGuard<'_, Vec<Py<PyAny>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, py: Python<'_>, parcel: Parcel<a3s_lane::Alert>) {
        let callbacks: Vec<Py<PyAny>> = self.lock().iter().map(|it| it.clone_ref(py)).collect();
        let called = py
            .import(interned!(py, "a3s_lane._alerts"))
            .and_then(|module| {
                let module = module.as_any();
                match parcel {
                    Parcel::Item(alert) => guarded::call_method(
                        module,
                        interned!(py, "call"),
                        (callbacks, Alert::new(alert)),
                    ),
                    Parcel::Lost(count) => {
                        guarded::call_method(module, interned!(py, "note_lost"), (count,))
                    }
                }
            });
        if let Err(error) = called {
            guarded::report(py, error, None);
        }
    }
}

impl AlertManager {
    fn alerts(&self, py: Python<'_>) -> PyResult<&Alerts> {
        self.alerts
            .get("AlertManager")
            .map_err(|error| raise(py, &error))
    }

    /// The manager of the core.
    pub(crate) fn core(&self, py: Python<'_>) -> PyResult<Arc<a3s_lane::AlertManager>> {
        Ok(Arc::clone(&self.alerts(py)?.core))
    }
}

type Pair<'py> = Option<&'py Bound<'py, PyAny>>;

/// A pair of thresholds.
fn pair<T>(
    field: &str,
    value: &Bound<'_, PyAny>,
    read: impl Fn(&str, &Bound<'_, PyAny>) -> PyResult<T>,
) -> PyResult<(T, T)> {
    let (warning, critical) = value
        .extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()
        .map_err(|_| argument::wrong_class(field, "pair (warning, critical) or None", value))?;
    Ok((
        read(&format!("{field}[0]"), &warning)?,
        read(&format!("{field}[1]"), &critical)?,
    ))
}

fn depth_config(value: Pair<'_>) -> PyResult<QueueDepthAlertConfig> {
    let Some(value) = value else {
        return Ok(QueueDepthAlertConfig::disabled());
    };
    let count = |field: &str, value: &Bound<'_, PyAny>| argument::count(field, value, 1..=u32::MAX);
    let (warning, critical) = pair("queue_depth", value, count)?;
    in_order("queue_depth", warning <= critical)?;
    Ok(QueueDepthAlertConfig::new(warning, critical))
}

fn latency_config(value: Pair<'_>) -> PyResult<LatencyAlertConfig> {
    let Some(value) = value else {
        return Ok(LatencyAlertConfig::disabled());
    };
    let number = |field: &str, value: &Bound<'_, PyAny>| argument::number_from(field, value, 0.0);
    let (warning, critical) = pair("latency_ms", value, number)?;
    in_order("latency_ms", warning <= critical)?;
    Ok(LatencyAlertConfig::new(warning, critical))
}

/// With a warning above it, the critical threshold would hide every warning.
fn in_order(field: &str, ordered: bool) -> PyResult<()> {
    if ordered {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "{field}[0] must not be above {field}[1]"
    )))
}

#[pymethods]
impl AlertManager {
    #[new]
    #[pyo3(signature = (*, queue_depth = None, latency_ms = None))]
    fn new(py: Python<'_>, queue_depth: Pair<'_>, latency_ms: Pair<'_>) -> PyResult<Self> {
        let core = Arc::new(a3s_lane::AlertManager::new());
        let callbacks = Arc::new(Callbacks::default());
        let outbox = {
            let callbacks = Arc::clone(&callbacks);
            Outbox::new(move |py, parcel| callbacks.call(py, parcel))
        };
        let put = move |alert| outbox.put(alert);
        wait(py, core.add_callback(put))?;
        let alerts = Alerts { core, callbacks };
        let this = Self {
            alerts: ProcessLocal::new(alerts),
        };
        this.set_queue_depth(py, queue_depth)?;
        this.set_latency_ms(py, latency_ms)?;
        Ok(this)
    }

    /// Calls ``callback`` with each later :class:`Alert`, and returns it: a decorator too.
    ///
    /// Callbacks are called one after the other, in the order in which they were added and the alerts were raised, on a thread
    /// of their own, soon after. They may use the lanes; the lanes do not wait for them. What a callback raises is logged by the
    /// logger ``a3s_lane``, and the others are still called. When 1024 alerts wait for slow callbacks, the oldest are lost,
    /// which is logged.
    fn add_callback<'py>(&self, callback: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = callback.py();
        if !callback.is_callable() {
            return Err(argument::wrong_class("callback", "function", callback));
        }
        let is_coroutine = py
            .import("inspect")?
            .call_method1("iscoroutinefunction", (callback,))?;
        if is_coroutine.is_truthy()? {
            return Err(PyTypeError::new_err(
                "callback must be a def, not an async def",
            ));
        }
        let alerts = self.alerts(py)?;
        alerts.callbacks.lock().push(callback.clone().unbind());
        Ok(callback.clone())
    }

    /// The thresholds for commands that wait in a lane, ``(warning, critical)``; ``None`` means no such alerts.
    #[getter]
    fn queue_depth(&self, py: Python<'_>) -> PyResult<Option<(usize, usize)>> {
        let core = self.core(py)?;
        let config = wait(py, core.queue_depth_config())?;
        let thresholds = (config.warning_threshold, config.critical_threshold);
        Ok(config.enabled.then_some(thresholds))
    }

    #[setter]
    fn set_queue_depth(&self, py: Python<'_>, value: Pair<'_>) -> PyResult<()> {
        let config = depth_config(value)?;
        let core = self.core(py)?;
        wait(py, core.set_queue_depth_config(config))
    }

    /// The thresholds for milliseconds that a command runs, ``(warning, critical)``; ``None`` means no such alerts.
    #[getter]
    fn latency_ms(&self, py: Python<'_>) -> PyResult<Option<(f64, f64)>> {
        let core = self.core(py)?;
        let config = wait(py, core.latency_config())?;
        let thresholds = (config.warning_threshold_ms, config.critical_threshold_ms);
        Ok(config.enabled.then_some(thresholds))
    }

    #[setter]
    fn set_latency_ms(&self, py: Python<'_>, value: Pair<'_>) -> PyResult<()> {
        let config = latency_config(value)?;
        let core = self.core(py)?;
        wait(py, core.set_latency_config(config))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Locked means in use by another thread, so it is no garbage.
        if let Ok(alerts) = self.alerts.get("AlertManager")
            && let Ok(callbacks) = alerts.callbacks.0.try_lock()
        {
            for callback in &*callbacks {
                visit.call(callback)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        if let Ok(alerts) = self.alerts.get("AlertManager") {
            let before = std::mem::take(&mut *alerts.callbacks.lock());
            drop(before);
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let Ok(_) = self.alerts.get("AlertManager") else {
            return Ok("AlertManager(of another process)".into());
        };
        let depth = self.queue_depth(py)?.into_pyobject(py)?;
        let latency = self.latency_ms(py)?.into_pyobject(py)?;
        Ok(format!(
            "AlertManager(queue_depth={}, latency_ms={})",
            depth.repr()?,
            latency.repr()?
        ))
    }
}
