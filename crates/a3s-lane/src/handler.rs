//! Code for commands that are data: a type and a payload.

mod layered;
mod map;
mod typed;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tower_layer::Layer;
use tower_service::Service;

use crate::context::CommandContext;
use crate::error::Result;
use layered::BoxError;

pub use layered::{HandlerCall, HandlerService, Layered};
pub(crate) use map::HandlerMap;
pub use typed::{Typed, typed};

/// What runs the commands of one type.
///
/// One handler serves all commands of its type, as many at once as their lanes let run. Functions and closures that
/// take a payload and a [`CommandContext`] are handlers; [`typed`] makes one of a function with serde types.
///
/// # Examples
///
/// ```
/// use a3s_lane::{CommandContext, Handler, Result};
/// use async_trait::async_trait;
/// use serde_json::{Value, json};
///
/// struct Greet {
///     greeting: String,
/// }
///
/// #[async_trait]
/// impl Handler for Greet {
///     async fn handle(&self, payload: Value, _context: CommandContext) -> Result<Value> {
///         Ok(json!(format!("{}, {payload}", self.greeting)))
///     }
/// }
///
/// async fn echo(payload: Value, _context: CommandContext) -> Result<Value> {
///     Ok(payload)
/// }
///
/// let handlers: [Box<dyn Handler>; 2] = [Box::new(Greet { greeting: "hello".into() }), Box::new(echo)];
/// # let _ = handlers;
/// ```
#[async_trait]
pub trait Handler: Send + Sync {
    /// Does the work of one attempt. Called again for each retry, with the same payload.
    ///
    /// # Errors
    ///
    /// Any error is a failed attempt: the retry policy decides whether another follows.
    /// [`LaneError::unrecoverable`](crate::LaneError::unrecoverable) stops retries.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the attempt meets a time limit, when the command is cancelled or preempted and its
    /// lane's grace is over, and when the queue is dropped.
    async fn handle(&self, payload: Value, context: CommandContext) -> Result<Value>;

    /// This handler inside a [`tower_layer::Layer`], such as those of the `tower` crate.
    ///
    /// The layer sees the handler as a `Service<HandlerCall>` that is always ready. The last layer is the outermost; layers
    /// of which one must know whether the next is ready, such as load shedding around a limit, go in together, as a
    /// `tower::ServiceBuilder`. The layered service must be `Clone`, as for most users of tower: every attempt has a clone
    /// of its own, so that one that is dropped while it waits to be ready holds up no other. One that cannot be cloned
    /// goes behind tower's `Buffer`.
    ///
    /// A [`LaneError`](crate::LaneError) passes through a layer as it is; any other error that a layer returns becomes a
    /// [`LaneError::CommandError`](crate::LaneError::CommandError) with its text.
    ///
    /// A layer's work is part of the attempt: time limits include it, and a command that waits in it holds its slot.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::{CommandContext, Handler, HandlerCall, Result};
    /// use serde_json::{Value, json};
    /// use tower::util::MapRequestLayer;
    ///
    /// async fn echo(payload: Value, _context: CommandContext) -> Result<Value> {
    ///     Ok(payload)
    /// }
    ///
    /// let stamped = echo.layered(MapRequestLayer::new(|mut call: HandlerCall| {
    ///     call.payload["seen"] = json!(true);
    ///     call
    /// }));
    /// # let _ = stamped;
    /// ```
    fn layered<L>(self, layer: L) -> Layered<L::Service>
    where
        Self: Sized + 'static,
        L: Layer<HandlerService<Self>>,
        L::Service: Service<HandlerCall, Response = Value> + Clone + Send,
        <L::Service as Service<HandlerCall>>::Error: Into<BoxError>,
        <L::Service as Service<HandlerCall>>::Future: Send,
    {
        Layered::new(layer.layer(HandlerService::new(self)))
    }
}

#[async_trait]
impl<F, Fut> Handler for F
where
    F: Fn(Value, CommandContext) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Value>> + Send,
{
    async fn handle(&self, payload: Value, context: CommandContext) -> Result<Value> {
        self(payload, context).await
    }
}

#[async_trait]
impl<H: Handler + ?Sized> Handler for Arc<H> {
    async fn handle(&self, payload: Value, context: CommandContext) -> Result<Value> {
        H::handle(self, payload, context).await
    }
}

#[cfg(test)]
mod tests;
