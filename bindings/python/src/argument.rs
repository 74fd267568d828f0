//! Checking arguments: every refusal names the field and what would be right.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyBool, PyFloat, PyString};

/// The longest time that can be asked for, in seconds: about 317 years.
const MAX_SECS: f64 = 1e10;

fn type_name(value: &Bound<'_, PyAny>) -> String {
    value
        .get_type()
        .name()
        .map_or_else(|_| "object".into(), |name| name.to_string())
}

fn shown(value: &Bound<'_, PyAny>) -> String {
    value
        .repr()
        .map_or_else(|_| "?".into(), |text| text.to_string())
}

/// An `int` within `range`; `bool` and `float` are not accepted.
pub(crate) fn integer<'py, T>(
    field: &str,
    value: &Bound<'py, PyAny>,
    range: RangeInclusive<T>,
) -> PyResult<T>
where
    T: PartialOrd + Display + for<'a> FromPyObject<'a, 'py, Error = PyErr>,
{
    let (low, high) = (range.start(), range.end());
    let wrong_type = || {
        PyTypeError::new_err(format!(
            "{field} must be an int from {low} to {high}, not {}",
            type_name(value)
        ))
    };
    if value.is_instance_of::<PyBool>() || value.is_instance_of::<PyFloat>() {
        return Err(wrong_type());
    }
    match value.extract::<T>() {
        Ok(number) if range.contains(&number) => Ok(number),
        Err(error) if error.is_instance_of::<PyTypeError>(value.py()) => Err(wrong_type()),
        _ => Err(PyValueError::new_err(format!(
            "{field} must be an int from {low} to {high}, got {}",
            shown(value)
        ))),
    }
}

/// Commands that run or wait: what fits into 32 bits, so that all platforms and languages agree.
pub(crate) fn count(
    field: &str,
    value: &Bound<'_, PyAny>,
    range: RangeInclusive<u32>,
) -> PyResult<usize> {
    let count = integer(field, value, range)?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// An amount that limiters count, from `low` to 2**53 - 1: a number that is exact in every language.
pub(crate) fn amount(field: &str, value: &Bound<'_, PyAny>, low: u64) -> PyResult<u64> {
    integer(field, value, low..=(1 << 53) - 1)
}

/// A `bool`, and nothing that only counts as one.
pub(crate) fn flag(field: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value
        .cast::<PyBool>()
        .map(|flag| flag.is_true())
        .map_err(|_| wrong_class(field, "bool", value))
}

/// One of a few words.
pub(crate) fn choice<T: Copy>(
    field: &str,
    value: &Bound<'_, PyAny>,
    choices: &[(&str, T)],
) -> PyResult<T> {
    let word = text(field, value)?;
    if let Some((_, chosen)) = choices.iter().find(|(known, _)| *known == word) {
        return Ok(*chosen);
    }
    let words: Vec<String> = choices
        .iter()
        .map(|(word, _)| format!("'{word}'"))
        .collect();
    Err(PyValueError::new_err(format!(
        "{field} must be one of {}, got {}",
        words.join(", "),
        shown(value)
    )))
}

/// An `int` or `float` of seconds from 0 to [`MAX_SECS`].
pub(crate) fn seconds(field: &str, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    duration(field, value, 1.0, "seconds")
}

/// Like [`seconds`], but not zero.
pub(crate) fn seconds_above_zero(field: &str, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let duration = seconds(field, value)?;
    if duration.is_zero() {
        return Err(PyValueError::new_err(format!(
            "{field} must be above 0, got {}",
            shown(value)
        )));
    }
    Ok(duration)
}

/// An `int` or `float` of milliseconds, within the same limits as [`seconds`].
pub(crate) fn milliseconds(field: &str, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    duration(field, value, 1e3, "milliseconds")
}

fn duration(
    field: &str,
    value: &Bound<'_, PyAny>,
    per_second: f64,
    unit: &str,
) -> PyResult<Duration> {
    let high = MAX_SECS * per_second;
    let number = float(
        field,
        value,
        &format!("a number of {unit} from 0 to {high:.0}"),
    )?;
    let secs = number / per_second;
    match Duration::try_from_secs_f64(secs) {
        Ok(duration) if secs <= MAX_SECS => Ok(duration),
        _ => Err(PyValueError::new_err(format!(
            "{field} must be a number of {unit} from 0 to {high:.0}, got {}",
            shown(value)
        ))),
    }
}

/// A finite `int` or `float` of at least `low`.
pub(crate) fn number_from(field: &str, value: &Bound<'_, PyAny>, low: f64) -> PyResult<f64> {
    let expected = format!("a finite number of at least {low}");
    let number = float(field, value, &expected)?;
    if number.is_finite() && number >= low {
        return Ok(number);
    }
    Err(PyValueError::new_err(format!(
        "{field} must be {expected}, got {}",
        shown(value)
    )))
}

fn float(field: &str, value: &Bound<'_, PyAny>, expected: &str) -> PyResult<f64> {
    let wrong_type = || {
        PyTypeError::new_err(format!(
            "{field} must be {expected}, not {}",
            type_name(value)
        ))
    };
    if value.is_instance_of::<PyBool>() {
        return Err(wrong_type());
    }
    value.extract::<f64>().map_err(|error| {
        if error.is_instance_of::<PyTypeError>(value.py()) {
            wrong_type()
        } else {
            PyValueError::new_err(format!("{field} must be {expected}, got {}", shown(value)))
        }
    })
}

/// A `str`.
pub(crate) fn text(field: &str, value: &Bound<'_, PyAny>) -> PyResult<String> {
    let text = value.cast::<PyString>().map_err(|_| {
        PyTypeError::new_err(format!("{field} must be a str, not {}", type_name(value)))
    })?;
    Ok(text.to_cow()?.into_owned())
}

/// A `str` that is not empty.
pub(crate) fn name(field: &str, value: &Bound<'_, PyAny>) -> PyResult<String> {
    let name = text(field, value)?;
    if name.is_empty() {
        return Err(PyValueError::new_err(format!("{field} must not be empty")));
    }
    Ok(name)
}

/// An iterable of `str`. A single `str` is refused: its characters are never what was meant.
pub(crate) fn texts(field: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    if value.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(format!(
            "{field} must be a list of str, not str"
        )));
    }
    let items = value.try_iter().map_err(|_| {
        PyTypeError::new_err(format!(
            "{field} must be a list of str, not {}",
            type_name(value)
        ))
    })?;
    items
        .enumerate()
        .map(|(index, item)| text(&format!("{field}[{index}]"), &item?))
        .collect()
}

/// The error for an element of the wrong class.
pub(crate) fn wrong_class(field: &str, class: &str, value: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!(
        "{field} must be a {class}, not {}",
        type_name(value)
    ))
}

/// The error for an argument that `callee` does not have.
pub(crate) fn unexpected(callee: &str, name: &str) -> PyErr {
    PyTypeError::new_err(format!(
        "{callee} got an unexpected keyword argument '{name}'"
    ))
}

/// `None` as the absence of a value.
pub(crate) fn given<'a, 'py>(value: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PyAny>> {
    (!value.is_none()).then_some(value)
}

/// Seconds as Python shows them: an `int` when they are whole.
pub(crate) fn seconds_to_python<'py>(
    py: Python<'py>,
    duration: Duration,
) -> PyResult<Bound<'py, PyAny>> {
    if duration.subsec_nanos() == 0 {
        return Ok(duration.as_secs().into_pyobject(py)?.into_any());
    }
    Ok(PyFloat::new(py, duration.as_secs_f64()).into_any())
}

/// An argument with a default that is not `None`, so that an explicit `None` is still refused.
pub(crate) enum Given<'py> {
    No,
    Yes(Bound<'py, PyAny>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Given<'py> {
    type Error = std::convert::Infallible;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> Result<Self, Self::Error> {
        Ok(Self::Yes(value.to_owned()))
    }
}
