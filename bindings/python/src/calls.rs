//! Calls of the queue: those that wait on a thread, and those that an event loop waits for.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use a3s_lane::LaneError;
use pyo3::prelude::*;
use pyo3::types::PyAny;
use tokio::runtime::Runtime;

use crate::error::{raise, with_code};
use crate::guarded;
use crate::interned::interned;
use crate::place::Place;
use crate::places::Places;
use crate::process::ProcessLocal;
use crate::{runtime, wait};

/// Calls what never waits.
pub(crate) fn now<T: Send>(
    py: Python<'_>,
    places: &Places,
    call: impl FnOnce() -> T + Send,
) -> PyResult<T> {
    match places.here() {
        None => wait::wait(py, async { call() }),
        Some(place) => {
            let runtime = shared(py)?;
            let _entered = runtime.enter();
            Ok(place.within(py, call))
        }
    }
}

/// Like [`now`], for a call that can fail.
pub(crate) fn try_now<T: Send>(
    py: Python<'_>,
    places: &Places,
    call: impl FnOnce() -> Result<T, LaneError> + Send,
) -> PyResult<T> {
    now(py, places, call)?.map_err(|error| raise(py, &error))
}

/// Waits for `future` on this thread.
///
/// On the thread of the loop that the handlers need, only what is ready at once can be waited for; `instead` is what the
/// error recommends then.
pub(crate) fn blocking<F>(
    py: Python<'_>,
    places: &Places,
    instead: &str,
    future: F,
) -> PyResult<F::Output>
where
    F: Future + Send,
    F::Output: Send,
{
    let Some(place) = places.here() else {
        return wait::wait(py, future);
    };
    let runtime = shared(py)?;
    let mut future = pin!(future);
    let polled = {
        let _entered = runtime.enter();
        let mut context = Context::from_waker(Waker::noop());
        place.within(py, || future.as_mut().poll(&mut context))
    };
    match polled {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => {
            check(py, places, instead)?;
            wait::wait(py, future)
        }
    }
}

/// Like [`blocking`], for a future that can fail.
pub(crate) fn try_blocking<F, T>(
    py: Python<'_>,
    places: &Places,
    instead: &str,
    future: F,
) -> PyResult<T>
where
    F: Future<Output = Result<T, LaneError>> + Send,
    T: Send,
{
    blocking(py, places, instead, future)?.map_err(|error| raise(py, &error))
}

/// Refuses a wait that could never end.
pub(crate) fn check(py: Python<'_>, places: &Places, instead: &str) -> PyResult<()> {
    if !places.must_not_block(py) {
        return Ok(());
    }
    let text = format!(
        "Call would block the event loop that runs the handlers of this Lane: use {instead}"
    );
    Err(with_code(py, "WOULD_BLOCK", &text))
}

fn shared(py: Python<'_>) -> PyResult<&'static Runtime> {
    runtime::shared().map_err(|error| raise(py, &error))
}

/// Makes a Python object of what a call gave.
pub(crate) type Convert<T> = fn(Python<'_>, T) -> PyResult<Py<PyAny>>;

/// Begins a call that may use timers; see [`begin`].
pub(crate) fn begin_timed<T: Send + 'static>(
    py: Python<'_>,
    place: &Arc<Place>,
    convert: Convert<T>,
    future: impl Future<Output = T> + Send + 'static,
) -> PyResult<Py<PyAny>> {
    let runtime = shared(py)?;
    let mut future = Box::pin(future);
    let timed = poll_fn(move |cx| {
        let _entered = runtime.enter();
        future.as_mut().poll(cx)
    });
    begin(py, place, convert, timed)
}

/// Begins a call on the event loop of this thread. Returns its result when it has one at once, and else a [`Pending`].
pub(crate) fn begin<T: Send + 'static>(
    py: Python<'_>,
    place: &Arc<Place>,
    convert: Convert<T>,
    future: impl Future<Output = T> + Send + 'static,
) -> PyResult<Py<PyAny>> {
    let mut future = Box::pin(future);
    // A call that ends within its first turn needs no task.
    let mut context = Context::from_waker(Waker::noop());
    let first = place.within(py, || future.as_mut().poll(&mut context));
    let second = match first {
        // The turn is over, and brought the result or did not.
        Poll::Pending => future.as_mut().poll(&mut context),
        ended => ended,
    };
    if let Poll::Ready(output) = second {
        return convert(py, output);
    }
    let call = Arc::new(Call {
        state: Mutex::new(CallState::Running(None)),
    });
    let task = {
        let call = Arc::clone(&call);
        async move {
            let output = poll_fn(|cx| {
                if !call.goes_on(cx) {
                    return Poll::Ready(None);
                }
                future.as_mut().poll(cx).map(Some)
            })
            .await;
            drop(future);
            if let Some(output) = output {
                call.end(output, convert);
            }
        }
    };
    place.within(py, || place.event_loop.spawn(task));
    let mut state = call.lock();
    match std::mem::replace(&mut *state, CallState::Left) {
        CallState::Ended(output) => {
            drop(state);
            convert(py, output)
        }
        CallState::Running(waker) => {
            let asyncio_loop = place.asyncio_loop().map(|known| known.bind(py));
            let Some(asyncio_loop) = asyncio_loop.filter(|_| !place.is_closed()) else {
                let text = "the event loop of this call has ended";
                return Err(raise(py, &LaneError::QueueError(text.into())));
            };
            let future =
                guarded::call_method(asyncio_loop, interned!(py, "create_future"), ())?.unbind();
            *state = CallState::Awaited(waker, future.clone_ref(py));
            drop(state);
            let pending = Pending {
                future,
                call: ProcessLocal::new(Box::new((call, convert))),
            };
            Ok(Py::new(py, pending)?.into_any())
        }
        CallState::Awaited(..) | CallState::Left => {
            let text = "internal error: a call has ended twice";
            Err(raise(py, &LaneError::QueueError(text.into())))
        }
    }
}

/// A call between the loop that makes it and whoever awaits it.
struct Call<T> {
    state: Mutex<CallState<T>>,
}

enum CallState<T> {
    Running(Option<Waker>),
    /// An asyncio future waits for the end.
    Awaited(Option<Waker>, Py<PyAny>),
    Ended(T),
    /// Nobody wants the result.
    Left,
}

impl<T> Call<T> {
    fn lock(&self) -> MutexGuard<'_, CallState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn goes_on(&self, cx: &Context<'_>) -> bool {
        match &mut *self.lock() {
            CallState::Running(waker) | CallState::Awaited(waker, _) => {
                match waker {
                    Some(waker) if waker.will_wake(cx.waker()) => {}
                    _ => *waker = Some(cx.waker().clone()),
                }
                true
            }
            CallState::Ended(_) | CallState::Left => false,
        }
    }

    /// Hands the result over, on the thread of the loop.
    fn end(&self, output: T, convert: Convert<T>) {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, CallState::Left) {
            CallState::Running(_) => *state = CallState::Ended(output),
            CallState::Awaited(_, future) => {
                drop(state);
                let kept = Python::try_attach(|py| {
                    if is_done(py, &future) {
                        return Some(output);
                    }
                    if let Err(error) = set_result(py, &future, convert(py, output)) {
                        guarded::report(py, error, Some(future.bind(py)));
                    }
                    None
                });
                if let Some(output) = kept.flatten() {
                    // Cancelled, but whoever waited has yet to learn of it, and may take the result back.
                    *self.lock() = CallState::Ended(output);
                }
            }
            CallState::Ended(_) | CallState::Left => {}
        }
    }
}

fn is_done(py: Python<'_>, future: &Py<PyAny>) -> bool {
    let done = future.call_method0(py, interned!(py, "done"));
    done.is_ok_and(|done| done.is_truthy(py).unwrap_or(true))
}

fn set_result(py: Python<'_>, future: &Py<PyAny>, result: PyResult<Py<PyAny>>) -> PyResult<()> {
    match result {
        Ok(value) => future.call_method1(py, interned!(py, "set_result"), (value,))?,
        Err(error) => {
            future.call_method1(py, interned!(py, "set_exception"), (error.into_value(py),))?
        }
    };
    Ok(())
}

trait Leave: Send + Sync {
    fn leave(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>>;
    fn abandon(&self);
}

impl<T> Call<T> {
    /// Nobody waits any more. Gives what has come.
    fn leave(&self) -> Option<T> {
        let before = std::mem::replace(&mut *self.lock(), CallState::Left);
        match before {
            CallState::Running(Some(waker)) | CallState::Awaited(Some(waker), _) => {
                waker.wake();
                None
            }
            CallState::Ended(output) => Some(output),
            _ => None,
        }
    }
}

impl<T: Send> Leave for (Arc<Call<T>>, Convert<T>) {
    fn leave(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let (call, convert) = self;
        let output = call.leave();
        output.map(|output| convert(py, output)).transpose()
    }

    fn abandon(&self) {
        drop(self.0.leave());
    }
}

/// A call that has not ended. Its ``future`` belongs to the event loop.
#[pyclass(frozen, name = "_Pending", module = "a3s_lane")]
pub(crate) struct Pending {
    #[pyo3(get)]
    future: Py<PyAny>,
    call: ProcessLocal<Box<dyn Leave>>,
}

#[pymethods]
impl Pending {
    /// Waits no more. Returns the result that has come since the wait was cancelled, if one has.
    fn leave(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match self.call.get("Lane") {
            Ok(call) => call.leave(py),
            Err(_) => Ok(None),
        }
    }

    /// Waits no more, whatever has come since.
    fn abandon(&self) {
        if let Ok(call) = self.call.get("Lane") {
            call.abandon();
        }
    }
}

/// A future of the lanes that ends when `stopped` is ready first.
pub(crate) async fn unless<T>(
    future: impl Future<Output = T>,
    stopped: impl Future<Output = ()>,
) -> Option<T> {
    let (mut future, mut stopped) = (pin!(future), pin!(stopped));
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        Pin::as_mut(&mut stopped).poll(cx).map(|()| None)
    })
    .await
}
