//! A command of a Python program: data for a handler.

use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;

use a3s_lane::{Command, CommandContext, Result};
use async_trait::async_trait;
use pyo3::prelude::*;
use pyo3::types::PyAny;
use serde_json::Value;

use crate::error::raise;
use crate::from_json::from_json;
use crate::handlers::Handlers;
use crate::imported::Imported;
use crate::names;
use crate::released::{drop_released, release};
use crate::to_json::to_json;

/// A type and a payload, with the context variables of whoever submitted it.
pub(crate) struct PyCommand {
    command_type: Arc<str>,
    payload: Value,
    variables: Option<Py<PyAny>>,
    handlers: Arc<Handlers>,
}

impl PyCommand {
    pub(crate) fn new(
        py: Python<'_>,
        handlers: &Arc<Handlers>,
        command_type: Arc<str>,
        payload: Value,
    ) -> PyResult<Self> {
        drop_released(py);
        let variables = copy_context(py)?.call0()?;
        Ok(Self {
            command_type,
            payload,
            variables: Some(variables.unbind()),
            handlers: Arc::clone(handlers),
        })
    }
}

/// Python's function that copies the context variables. Found when the module is imported: a daemon thread that imports another
/// module while the interpreter ends would be unwound; see `guarded.rs`.
pub(crate) fn copy_context(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static COPY: Imported = Imported::new("contextvars", "copy_context");
    COPY.get(py)
}

impl Drop for PyCommand {
    fn drop(&mut self) {
        // Mostly by a thread of the core, without the GIL.
        if let Some(variables) = self.variables.take() {
            release(variables);
        }
    }
}

#[async_trait]
impl Command for PyCommand {
    async fn execute(&self) -> Result<Value> {
        Ok(self.payload.clone())
    }

    fn execute_with<'life0, 'life1, 'async_trait>(
        &'life0 self,
        context: &'life1 CommandContext,
    ) -> Pin<Box<dyn Future<Output = Result<Value>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        // Without a handler it returns its own payload.
        match self.handlers.get(&self.command_type) {
            None => Box::pin(ready(Ok(self.payload.clone()))),
            Some(handler) => Box::pin(handler.run(
                &self.payload,
                self.variables.as_ref(),
                context,
                &self.handlers,
            )),
        }
    }

    fn command_type(&self) -> &str {
        &self.command_type
    }

    fn payload(&self) -> Option<Value> {
        Some(self.payload.clone())
    }

    fn needs_handler(&self) -> bool {
        true
    }
}

/// What a submission names.
pub(crate) fn new_command(
    py: Python<'_>,
    handlers: &Arc<Handlers>,
    command_type: &Bound<'_, PyAny>,
    payload: Option<&Bound<'_, PyAny>>,
) -> PyResult<Box<dyn Command>> {
    let command_type = names::name("command_type", command_type)?;
    let payload = payload.map_or(Ok(Value::Null), |payload| to_json("payload", payload))?;
    Ok(Box::new(PyCommand::new(
        py,
        handlers,
        command_type,
        payload,
    )?))
}

/// What a command's result is in Python.
pub(crate) fn json_result(py: Python<'_>, result: Result<Value>) -> PyResult<Py<PyAny>> {
    drop_released(py);
    match result {
        Ok(value) => Ok(from_json(py, &value)?.unbind()),
        Err(error) => Err(raise(py, &error)),
    }
}
