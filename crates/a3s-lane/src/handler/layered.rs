//! Handlers inside the layers of tower.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use serde_json::Value;
use tower_service::Service;

use super::Handler;
use crate::context::CommandContext;
use crate::error::{LaneError, Result};

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// One attempt, as the request of a tower service.
///
/// # Examples
///
/// ```
/// use a3s_lane::HandlerCall;
///
/// fn tagged(mut call: HandlerCall) -> HandlerCall {
///     call.payload["tagged"] = true.into();
///     call
/// }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HandlerCall {
    /// What the command was submitted with.
    pub payload: Value,
    /// The command that runs.
    pub context: CommandContext,
}

/// A [`Handler`] as a tower service: what the innermost layer of [`Handler::layered`] wraps.
///
/// It is always ready: how many commands run at once is for their lanes to say.
pub struct HandlerService<H> {
    handler: Arc<H>,
}

impl<H> HandlerService<H> {
    pub(super) fn new(handler: H) -> Self {
        Self {
            handler: Arc::new(handler),
        }
    }
}

impl<H: Handler + 'static> Service<HandlerCall> for HandlerService<H> {
    type Response = Value;
    type Error = LaneError;
    type Future = Pin<Box<dyn Future<Output = Result<Value>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: HandlerCall) -> Self::Future {
        let handler = self.handler.clone();
        Box::pin(async move { handler.handle(call.payload, call.context).await })
    }
}

impl<H> Clone for HandlerService<H> {
    fn clone(&self) -> Self {
        Self {
            handler: self.handler.clone(),
        }
    }
}

impl<H> fmt::Debug for HandlerService<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerService").finish_non_exhaustive()
    }
}

/// The handler that [`Handler::layered`] makes.
pub struct Layered<S> {
    /// Locked only to be cloned: a service that can be sent need not be shareable.
    service: Mutex<S>,
}

impl<S> Layered<S> {
    pub(super) fn new(service: S) -> Self {
        Self {
            service: Mutex::new(service),
        }
    }
}

#[async_trait]
impl<S> Handler for Layered<S>
where
    S: Service<HandlerCall, Response = Value> + Clone + Send,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    async fn handle(&self, payload: Value, context: CommandContext) -> Result<Value> {
        let mut service = self
            .service
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        poll_fn(|cx| service.poll_ready(cx))
            .await
            .map_err(lane_error)?;
        service
            .call(HandlerCall { payload, context })
            .await
            .map_err(lane_error)
    }
}

impl<S> fmt::Debug for Layered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layered").finish_non_exhaustive()
    }
}

/// The handler's own error as it was, whatever boxes it went through.
fn lane_error(error: impl Into<BoxError>) -> LaneError {
    match error.into().downcast::<LaneError>() {
        Ok(error) => *error,
        Err(error) => LaneError::CommandError(error.to_string()),
    }
}
