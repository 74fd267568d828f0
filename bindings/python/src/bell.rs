//! Waking an asyncio event loop from any thread, without the GIL.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

#[cfg(unix)]
use std::os::{fd::AsRawFd, unix::net::UnixStream};

use a3s_lane::LaneError;
use pyo3::exceptions::PyNotImplementedError;
use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::anchor::LoopAnchor;
use crate::error::raise;
use crate::guarded;
use crate::interned::interned;
use crate::place::Place;

/// Asks an event loop for a turn.
///
/// Whoever rings may hold a lock of the engine, for which a thread with the GIL may wait: ringing never takes the GIL.
pub(crate) struct Bell {
    state: Mutex<State>,
}

enum State {
    /// The loop does not run yet: the first ring starts it, where there is something to start.
    Silent {
        starts: Weak<Place>,
        rung: bool,
    },
    /// The loop watches the other end.
    #[cfg(unix)]
    Socket {
        ours: UnixStream,
        theirs: Arc<UnixStream>,
    },
    /// For loops that cannot watch a socket: a thread that tells them.
    Thread(Sender<()>),
    Closed,
}

impl Bell {
    pub(crate) fn silent() -> Self {
        Self {
            state: Mutex::new(State::Silent {
                starts: Weak::new(),
                rung: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first ring gives this place a loop.
    pub(crate) fn starts(&self, place: &Arc<Place>) {
        *self.lock() = State::Silent {
            starts: Arc::downgrade(place),
            rung: false,
        };
    }

    pub(crate) fn has_started(&self) -> bool {
        !matches!(&*self.lock(), State::Silent { rung: false, .. })
    }

    pub(crate) fn ring(&self) {
        let mut state = self.lock();
        match &mut *state {
            State::Silent { starts, rung } => {
                if !std::mem::replace(rung, true) {
                    let place = starts.clone();
                    drop(state);
                    start_loop(place);
                }
            }
            #[cfg(unix)]
            State::Socket { ours, .. } => {
                // A full socket has woken the loop already.
                let _ = std::io::Write::write(ours, &[1]);
            }
            State::Thread(told) => _ = told.send(()),
            State::Closed => {}
        }
    }

    /// From now on rings this loop, of which `anchor` takes the turns.
    pub(crate) fn settle(
        &self,
        asyncio_loop: &Bound<'_, PyAny>,
        anchor: &Bound<'_, LoopAnchor>,
    ) -> PyResult<()> {
        #[cfg(unix)]
        let bell = socket(asyncio_loop, anchor)?;
        #[cfg(not(unix))]
        let bell: Option<State> = None;
        let bell = match bell {
            Some(bell) => bell,
            None => telling(asyncio_loop, anchor)?,
        };
        let before = std::mem::replace(&mut *self.lock(), bell);
        if let State::Silent { rung: true, .. } = before {
            self.ring();
        }
        Ok(())
    }

    /// Rings no more, on the thread of the loop.
    pub(crate) fn close(&self, py: Python<'_>, asyncio_loop: Option<&Py<PyAny>>) {
        let before = std::mem::replace(&mut *self.lock(), State::Closed);
        #[cfg(unix)]
        if let (State::Socket { theirs, .. }, Some(asyncio_loop)) = (&before, asyncio_loop) {
            // A loop that is closed watches nothing any more.
            let _ = guarded::call_method(
                asyncio_loop.bind(py),
                interned!(py, "remove_reader"),
                (theirs.as_raw_fd(),),
            );
        }
        let _ = (py, asyncio_loop);
        drop(before);
    }
}

/// A bell for a loop that can watch a socket.
#[cfg(unix)]
fn socket(
    asyncio_loop: &Bound<'_, PyAny>,
    anchor: &Bound<'_, LoopAnchor>,
) -> PyResult<Option<State>> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let theirs = Arc::new(theirs);
    let py = asyncio_loop.py();
    let added = guarded::call_method(
        asyncio_loop,
        interned!(py, "add_reader"),
        (theirs.as_raw_fd(), anchor),
    );
    match added {
        Ok(_) => {
            anchor.get().watch(Arc::clone(&theirs));
            Ok(Some(State::Socket { ours, theirs }))
        }
        Err(error) if error.is_instance_of::<PyNotImplementedError>(py) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A bell for any loop.
fn telling(asyncio_loop: &Bound<'_, PyAny>, anchor: &Bound<'_, LoopAnchor>) -> PyResult<State> {
    let py = asyncio_loop.py();
    let (tell, told) = channel();
    let asyncio_loop = asyncio_loop.clone().unbind();
    let anchor = anchor.clone().unbind();
    let tells = move || {
        while let Ok(()) = told.recv() {
            while told.try_recv().is_ok() {}
            let turned = Python::try_attach(|py| {
                let name = interned!(py, "call_soon_threadsafe");
                guarded::call_method(asyncio_loop.bind(py), name, (&anchor,)).map(Bound::unbind)
            });
            // The interpreter or the loop has ended.
            if !matches!(turned, Some(Ok(_))) {
                return;
            }
        }
    };
    spawn("a3s-lane-bell", tells).map_err(|error| raise(py, &error))?;
    Ok(State::Thread(tell))
}

/// Gives `place` an event loop with a thread of its own.
fn start_loop(place: Weak<Place>) {
    let start = move || {
        let Some(place) = place.upgrade() else {
            return;
        };
        let kept = Arc::clone(&place);
        let started = Python::try_attach(|py| {
            let anchor = Bound::new(py, LoopAnchor::new(kept))?;
            guarded::call_asyncio(py, interned!(py, "start_loop"), (anchor,))?;
            PyResult::Ok(())
        });
        match started {
            Some(Ok(())) => {}
            Some(Err(_)) => _ = Python::try_attach(|py| place.close(py)),
            // The interpreter has ended, and nobody waits any more.
            None => place.event_loop.close(),
        }
    };
    // What waits for a thread that the system refuses waits for ever; so does everything else in such a process.
    let _ = spawn("a3s-lane-start", start);
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), LaneError> {
    match thread::Builder::new().name(name.to_owned()).spawn(run) {
        Ok(_) => Ok(()),
        Err(error) => Err(LaneError::QueueError(format!(
            "cannot start a thread: {error}"
        ))),
    }
}
