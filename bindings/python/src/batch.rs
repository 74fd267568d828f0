//! Many commands in one call.

use a3s_lane::{Command, CommandHandle, SubmitOptions};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyList, PyTuple};

use crate::argument;
use crate::error::raise;
use crate::handle;
use crate::queue::Queue;
use crate::submit_options;

/// Makes a command of its type and the second member of its tuple; `field` is where that stands, for errors.
pub(crate) type Make<'a> =
    &'a dyn Fn(&str, String, Option<&Bound<'_, PyAny>>) -> PyResult<Box<dyn Command>>;

/// Hands in what `commands` lists; each is a tuple `(command_type, what, options)`, of which the last two may be absent.
pub(crate) fn submit_many<'py>(
    py: Python<'py>,
    queue: &Queue,
    lane_id: &str,
    commands: &Bound<'py, PyAny>,
    make: Make<'_>,
) -> PyResult<Bound<'py, PyList>> {
    let items = commands
        .try_iter()
        .map_err(|_| argument::wrong_class("commands", "list of tuples", commands))?;
    let commands = items
        .enumerate()
        .map(|(index, item)| read(index, &item?, make))
        .collect::<PyResult<Vec<_>>>()?;
    let submitted = queue.enqueue_many(lane_id, commands);
    let answers = queue
        .handlers
        .submitting
        .wait(py, lane_id, "`enqueue_async`", submitted)?;
    let list = PyList::empty(py);
    for answer in answers {
        match answer {
            Ok(handle) => list.append(wrap(handle, queue))?,
            Err(error) => list.append(raise(py, &error).into_value(py))?,
        }
    }
    Ok(list)
}

/// A handle of a command of this queue.
pub(crate) fn wrap(handle: CommandHandle, queue: &Queue) -> handle::CommandHandle {
    handle::CommandHandle::new(handle, &queue.places)
}

fn read(
    index: usize,
    item: &Bound<'_, PyAny>,
    make: Make<'_>,
) -> PyResult<(Box<dyn Command>, SubmitOptions)> {
    let field = format!("commands[{index}]");
    let item = item.cast::<PyTuple>().map_err(|_| {
        argument::wrong_class(&field, "tuple (command_type, payload, options)", item)
    })?;
    if !(1..=3).contains(&item.len()) {
        return Err(PyValueError::new_err(format!(
            "{field} must be a tuple (command_type, payload, options) of 1 to 3 members, got {}",
            item.len()
        )));
    }
    let command_type = argument::text(&format!("{field}[0]"), &item.get_item(0)?)?;
    let what = item.get_item(1).ok();
    let command = make(&format!("{field}[1]"), command_type, what.as_ref())?;
    let prefix = format!("{field}[2].");
    let options = match item.get_item(2) {
        Err(_) => None,
        Ok(options) => {
            let options = options.cast_into::<PyDict>().map_err(|error| {
                argument::wrong_class(&format!("{field}[2]"), "dict", &error.into_inner())
            })?;
            submit_options::read(&field, &prefix, Some(&options))?
        }
    };
    Ok((command, options.unwrap_or_default()))
}
