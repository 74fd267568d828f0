//! Promises: work that JavaScript waits for without blocking its thread.

use std::future::Future;

use a3s_lane::LaneError;
use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::{Env, JsDeferred};
use napi_derive::napi;
use tokio::runtime::Runtime;

use crate::fault::Fault;

/// How asynchronous work ended. The typed entry turns a `code` into a rejection with `LaneError`.
#[napi(object, object_from_js = false)]
pub struct NativeOutcome {
    /// The result, when there is one.
    pub value: Option<String>,
    /// The error's kind, when the work failed.
    pub code: Option<String>,
    /// The error's text, when the work failed.
    pub message: Option<String>,
}

impl From<Result<Option<String>, Fault>> for NativeOutcome {
    fn from(result: Result<Option<String>, Fault>) -> Self {
        match result {
            Ok(value) => Self {
                value,
                code: None,
                message: None,
            },
            Err(fault) => Self {
                value: None,
                code: Some(fault.code.to_owned()),
                message: Some(fault.message),
            },
        }
    }
}

/// A promise of what `work` returns. It always resolves, also when `work` panics, and keeps the process alive until then.
pub(crate) fn promise<'env>(
    env: &'env Env,
    runtime: &'static Runtime,
    work: impl Future<Output = Result<Option<String>, Fault>> + Send + 'static,
) -> Result<Object<'env>, Fault> {
    promise_of(env, runtime, work, NativeOutcome::from)
}

/// As [`promise`], of what `tell` makes of the result.
pub(crate) fn promise_of<'env, T: Send + 'static, R: ToNapiValue + 'static>(
    env: &'env Env,
    runtime: &'static Runtime,
    work: impl Future<Output = Result<T, Fault>> + Send + 'static,
    tell: impl FnOnce(Result<T, Fault>) -> R + Send + 'static,
) -> Result<Object<'env>, Fault> {
    let (deferred, promise) = env.create_deferred()?;
    let deferred: JsDeferred<R, _> = deferred;
    let work = runtime.spawn(work);
    runtime.spawn(async move {
        let result = work.await.unwrap_or_else(|error| {
            Err(match error.try_into_panic() {
                Ok(panic) => Fault::panicked(&*panic),
                Err(_) => LaneError::QueueError("the runtime is gone".into()).into(),
            })
        });
        deferred.resolve(move |_| Ok(tell(result)));
    });
    Ok(promise)
}
