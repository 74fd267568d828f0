//! From Python objects to `serde_json::Value`, without a detour through text.

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use serde_json::{Map, Number, Value};

use crate::guarded;
use crate::imported::Imported;

/// How deep lists and dicts may be nested: as deep as `serde_json` reads back.
const MAX_DEPTH: usize = 128;

/// The JSON value of `object`, by the rules of `json.dumps` without NaN and infinities.
///
/// `root` starts the path that errors name, as in `payload.items[3]`.
pub(crate) fn to_json(root: &str, object: &Bound<'_, PyAny>) -> PyResult<Value> {
    convert(object, 0)
        .map_err(|problem| PyValueError::new_err(format!("{root}{}{}", problem.path, problem.text)))
}

/// What is wrong and where; the path grows while the recursion unwinds.
struct Problem {
    path: String,
    text: String,
    has_path: bool,
}

impl Problem {
    fn new(text: impl Into<String>) -> Self {
        Self {
            path: String::new(),
            text: text.into(),
            has_path: true,
        }
    }

    /// For nesting itself: its path would be as long as it is deep.
    fn without_path(text: impl Into<String>) -> Self {
        Self {
            has_path: false,
            ..Self::new(text)
        }
    }

    fn below(mut self, step: impl FnOnce() -> String) -> Self {
        if self.has_path {
            self.path.insert_str(0, &step());
        }
        self
    }
}

impl From<PyErr> for Problem {
    fn from(error: PyErr) -> Self {
        Self::new(format!(" cannot be read: {error}"))
    }
}

fn convert(object: &Bound<'_, PyAny>, depth: usize) -> Result<Value, Problem> {
    // What is exactly an `int` needs no more questions: each is a call into the interpreter.
    if object.is_exact_instance_of::<PyInt>()
        && let Some(number) = small(object)
    {
        Ok(Value::Number(number.into()))
    } else if object.is_none() {
        Ok(Value::Null)
    } else if let Ok(flag) = object.cast::<PyBool>() {
        Ok(Value::Bool(flag.is_true()))
    } else if let Ok(text) = object.cast::<PyString>() {
        Ok(Value::String(text.to_cow()?.into_owned()))
    } else if object.is_instance_of::<PyInt>() {
        integer(object).map(Value::Number)
    } else if let Ok(float) = object.cast::<PyFloat>() {
        let float = float.value();
        Number::from_f64(float).map(Value::Number).ok_or_else(|| {
            let name = if float.is_nan() { "nan" } else { "infinite" };
            Problem::new(format!(" is {name}, which JSON cannot hold"))
        })
    } else if let Ok(dict) = object.cast::<PyDict>() {
        check_depth(depth)?;
        members(dict, depth + 1)
    } else if let Ok(list) = object.cast::<PyList>() {
        check_depth(depth)?;
        elements(list.iter(), depth + 1)
    } else if let Ok(tuple) = object.cast::<PyTuple>() {
        check_depth(depth)?;
        elements(tuple.iter(), depth + 1)
    } else {
        check_depth(depth)?;
        let plain = model(object)?;
        if plain.is_none() {
            let name = object.get_type().name()?;
            return Err(Problem::new(format!(
                " is of type {name}, which has no JSON form"
            )));
        }
        convert(&plain, depth + 1)
    }
}

/// What a dataclass instance or a pydantic model is made of; `None` for anything else.
fn model<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static PLAIN: Imported = Imported::new("a3s_lane._models", "plain");
    guarded::call(PLAIN.get(object.py())?, (object,))
}

fn check_depth(depth: usize) -> Result<(), Problem> {
    if depth < MAX_DEPTH {
        return Ok(());
    }
    Err(Problem::without_path(format!(
        " is nested deeper than {MAX_DEPTH} levels"
    )))
}

/// An `int` that fits; with `None` nothing is said.
fn small(object: &Bound<'_, PyAny>) -> Option<i64> {
    // SAFETY: the object is valid and this thread is attached.
    let number = unsafe { ffi::PyLong_AsLongLong(object.as_ptr()) };
    // -1 may mean an error, which is cleared here and found again by whoever looks closer.
    if number == -1 && PyErr::take(object.py()).is_some() {
        return None;
    }
    Some(number)
}

fn integer(object: &Bound<'_, PyAny>) -> Result<Number, Problem> {
    if let Ok(number) = object.extract::<i64>() {
        return Ok(number.into());
    }
    match object.extract::<u64>() {
        Ok(number) => Ok(number.into()),
        Err(_) => Err(Problem::new(format!(
            " must be an int from {} to {} to stay exact in JSON",
            i64::MIN,
            u64::MAX
        ))),
    }
}

fn elements<'py>(
    items: impl Iterator<Item = Bound<'py, PyAny>>,
    depth: usize,
) -> Result<Value, Problem> {
    items
        .enumerate()
        .map(|(index, item)| {
            convert(&item, depth).map_err(|problem| problem.below(|| format!("[{index}]")))
        })
        .collect()
}

fn members(dict: &Bound<'_, PyDict>, depth: usize) -> Result<Value, Problem> {
    let mut map = Map::new();
    for (key, value) in dict {
        let key = member_name(&key)?;
        let value =
            convert(&value, depth).map_err(|problem| problem.below(|| format!(".{key}")))?;
        map.insert(key, value);
    }
    Ok(Value::Object(map))
}

/// A key as text. Keys that are not `str` become what `json.dumps` makes of them.
fn member_name(key: &Bound<'_, PyAny>) -> Result<String, Problem> {
    if let Ok(text) = key.cast::<PyString>() {
        return Ok(text.to_cow()?.into_owned());
    }
    match convert_key(key)? {
        Some(text) => Ok(text),
        None => {
            let name = key.get_type().name()?;
            Err(Problem::new(format!(
                " has a key of type {name}, JSON keys are str"
            )))
        }
    }
}

fn convert_key(key: &Bound<'_, PyAny>) -> Result<Option<String>, Problem> {
    if key.is_none() {
        return Ok(Some("null".into()));
    }
    if let Ok(flag) = key.cast::<PyBool>() {
        return Ok(Some(flag.is_true().to_string()));
    }
    if key.is_instance_of::<PyInt>() {
        return integer(key).map(|number| Some(number.to_string()));
    }
    if let Ok(float) = key.cast::<PyFloat>() {
        // A plain float, so that no overridden `__repr__` runs while the dict is being read.
        return Ok(Some(
            PyFloat::new(key.py(), float.value()).repr()?.to_string(),
        ));
    }
    Ok(None)
}
