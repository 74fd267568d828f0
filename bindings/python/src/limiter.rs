//! Limiters that lanes share by a name.

use std::ops::RangeInclusive;

use a3s_lane::LimiterConfig;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyString, PyTuple};

use crate::argument::{self, Given};
use crate::rate_limit::limit;

const PRIORITY: RangeInclusive<u8> = 0..=u8::MAX;

#[derive(Clone, Copy)]
enum Algorithm {
    TokenBucket,
    SlidingWindow,
}

const TOKEN_BUCKET: &str = "token_bucket";
const SLIDING_WINDOW: &str = "sliding_window";

/// One limit for all lanes that name it in their ``limiters``.
///
/// Each start is charged the command's ``cost``, or 1 with ``counting_commands``. At most ``max_commands`` of such units are
/// granted per ``window_secs``: with ``"token_bucket"`` at a steady rate after a ``burst`` (``max_commands`` if not given),
/// with ``"sliding_window"`` in any window. ``reserve`` units are left for lanes of priority 0 to ``urgent_up_to``.
#[pyclass(frozen, eq, from_py_object, module = "a3s_lane")]
#[derive(Clone, PartialEq)]
pub(crate) struct Limiter {
    pub(crate) config: LimiterConfig,
}

#[pymethods]
impl Limiter {
    #[new]
    #[pyo3(
        signature = (
            max_commands,
            window_secs,
            *,
            algorithm = Given::No,
            burst = None,
            counting_commands = Given::No,
            reserve = None,
            urgent_up_to = Given::No
        ),
        text_signature = "(max_commands, window_secs, *, algorithm='token_bucket', burst=None, counting_commands=False, reserve=None, urgent_up_to=0)"
    )]
    fn new(
        max_commands: &Bound<'_, PyAny>,
        window_secs: &Bound<'_, PyAny>,
        algorithm: Given<'_>,
        burst: Option<&Bound<'_, PyAny>>,
        counting_commands: Given<'_>,
        reserve: Option<&Bound<'_, PyAny>>,
        urgent_up_to: Given<'_>,
    ) -> PyResult<Self> {
        let limit = limit(max_commands, window_secs)?;
        let algorithms = [
            (TOKEN_BUCKET, Algorithm::TokenBucket),
            (SLIDING_WINDOW, Algorithm::SlidingWindow),
        ];
        let algorithm = match &algorithm {
            Given::No => Algorithm::TokenBucket,
            Given::Yes(value) => argument::choice("algorithm", value, &algorithms)?,
        };
        let mut config = match algorithm {
            Algorithm::TokenBucket => LimiterConfig::token_bucket(limit),
            Algorithm::SlidingWindow => LimiterConfig::sliding_window(limit),
        };
        if let Some(value) = burst {
            config = config.with_burst(argument::amount("burst", value, 1)?);
            if config.is_sliding_window() {
                return Err(PyValueError::new_err(
                    "burst needs the algorithm 'token_bucket', got 'sliding_window'",
                ));
            }
        }
        if let Given::Yes(value) = &counting_commands
            && argument::flag("counting_commands", value)?
        {
            config = config.counting_commands();
        }
        Ok(Self {
            config: with_reserve(config, reserve, &urgent_up_to)?,
        })
    }

    /// Most units per window.
    #[getter]
    fn max_commands(&self) -> u64 {
        self.config.limit().max_commands
    }

    /// Seconds of one window.
    #[getter]
    fn window_secs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        argument::seconds_to_python(py, self.config.limit().window)
    }

    /// ``"token_bucket"`` or ``"sliding_window"``.
    #[getter]
    fn algorithm(&self) -> &'static str {
        if self.config.is_sliding_window() {
            SLIDING_WINDOW
        } else {
            TOKEN_BUCKET
        }
    }

    /// Most units that a token bucket grants at once; ``None`` means ``max_commands``.
    #[getter]
    fn burst(&self) -> Option<u64> {
        self.config.burst()
    }

    /// Whether each start is charged 1 instead of its command's cost.
    #[getter]
    fn counting_commands(&self) -> bool {
        self.config.counts_commands()
    }

    /// Units that are left for urgent lanes; ``None`` means none.
    #[getter]
    fn reserve(&self) -> Option<u64> {
        self.config.reserve().map(|(amount, _)| amount)
    }

    /// The highest priority number of a lane that may use the reserve.
    #[getter]
    fn urgent_up_to(&self) -> u8 {
        self.config.reserve().map_or(0, |(_, urgent)| urgent)
    }

    /// Lets `pickle` and `copy` make the same limiter again.
    fn __getnewargs_ex__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let keywords = PyDict::new(py);
        keywords.set_item("algorithm", self.algorithm())?;
        keywords.set_item("burst", self.burst())?;
        keywords.set_item("counting_commands", self.counting_commands())?;
        if let Some((amount, urgent)) = self.config.reserve() {
            keywords.set_item("reserve", amount)?;
            keywords.set_item("urgent_up_to", urgent)?;
        }
        let positional = (self.max_commands(), self.window_secs(py)?).into_pyobject(py)?;
        Ok((positional, keywords))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let mut text = format!(
            "Limiter(max_commands={}, window_secs={}, algorithm='{}'",
            self.max_commands(),
            self.window_secs(py)?,
            self.algorithm()
        );
        if let Some(burst) = self.burst() {
            text += &format!(", burst={burst}");
        }
        if self.counting_commands() {
            text += ", counting_commands=True";
        }
        if let Some((amount, urgent)) = self.config.reserve() {
            text += &format!(", reserve={amount}, urgent_up_to={urgent}");
        }
        Ok(text + ")")
    }
}

fn with_reserve(
    config: LimiterConfig,
    reserve: Option<&Bound<'_, PyAny>>,
    urgent_up_to: &Given<'_>,
) -> PyResult<LimiterConfig> {
    let urgent = match urgent_up_to {
        Given::No => 0,
        Given::Yes(value) => argument::integer("urgent_up_to", value, PRIORITY)?,
    };
    let Some(value) = reserve else {
        return match urgent_up_to {
            Given::Yes(_) if urgent > 0 => Err(PyValueError::new_err(format!(
                "urgent_up_to needs a reserve, got urgent_up_to {urgent} and no reserve"
            ))),
            _ => Ok(config),
        };
    };
    let amount = argument::amount("reserve", value, 1)?;
    let capacity = config.capacity();
    if amount >= capacity {
        return Err(PyValueError::new_err(format!(
            "reserve must be below the {capacity} that are granted at once, got {amount}"
        )));
    }
    Ok(config.with_reserve(amount, urgent))
}

/// A `Limiter`.
pub(crate) fn one(field: &str, value: &Bound<'_, PyAny>) -> PyResult<LimiterConfig> {
    value
        .cast::<Limiter>()
        .map(|limiter| limiter.get().config.clone())
        .map_err(|_| argument::wrong_class(field, "Limiter", value))
}

/// A dict from the names of limiters to `Limiter`s.
pub(crate) fn named(value: &Bound<'_, PyAny>) -> PyResult<Vec<(String, LimiterConfig)>> {
    let limiters = value
        .cast::<PyDict>()
        .map_err(|_| argument::wrong_class("limiters", "dict of str to Limiter", value))?;
    let mut read = Vec::new();
    for (name, limiter) in limiters {
        let name = name
            .cast::<PyString>()
            .map_err(|_| argument::wrong_class("a key of limiters", "str", &name))?;
        let field = format!("limiters[{}]", name.repr()?);
        let name = argument::name("a key of limiters", name)?;
        read.push((name, one(&field, &limiter)?));
    }
    Ok(read)
}
