//! Names of lanes and command types: few, and given again with each command.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyAny, PyString};

use crate::argument;

/// How many names are known at once. One that takes the place of another is read again.
const KNOWN: usize = 64;

/// The longest name that is kept, in bytes.
const LONGEST: usize = 256;

type Known = [Option<(Py<PyString>, Arc<str>)>; KNOWN];

/// Names that were read, by the address of their `str`, which cannot change.
static NAMES: Mutex<Known> = Mutex::new([const { None }; KNOWN]);

/// A `str`. What was given before, as the same object, is not read again: without the newest limited API a `str` is encoded and
/// copied for that.
pub(crate) fn name(field: &str, value: &Bound<'_, PyAny>) -> PyResult<Arc<str>> {
    let Ok(text) = value.cast_exact::<PyString>() else {
        // The class of a subclass could be anything's.
        return argument::text(field, value).map(Arc::from);
    };
    // Objects are aligned to 16 bytes.
    let place = (text.as_ptr().addr() >> 4) % KNOWN;
    {
        let names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, name)) = &names[place]
            && known.is(text)
        {
            return Ok(Arc::clone(name));
        }
    }
    let name: Arc<str> = argument::text(field, value)?.into();
    if name.len() <= LONGEST {
        let kept = Some((text.clone().unbind(), Arc::clone(&name)));
        let before = {
            let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut names[place], kept)
        };
        drop(before);
    }
    Ok(name)
}
