//! Handlers whose payload and result are Rust types.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Handler;
use crate::context::CommandContext;
use crate::error::{LaneError, Result};

/// A handler of a function that takes and returns serde types.
///
/// A payload that does not fit the type, and a result that cannot be written as JSON, fail the command for good: no retry
/// would mend them. The error names the type and says what serde found wrong.
///
/// # Examples
///
/// ```
/// use a3s_lane::{CommandContext, handler::typed};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)]
/// struct Resize {
///     url: String,
///     width: u32,
/// }
///
/// #[derive(Serialize)]
/// struct Resized {
///     bytes: usize,
/// }
///
/// let resize = typed(|image: Resize, _context: CommandContext| async move {
///     Ok(Resized { bytes: image.url.len() * image.width as usize })
/// });
/// # let _: Box<dyn a3s_lane::Handler> = Box::new(resize);
/// ```
pub fn typed<F, In, Fut, Out>(function: F) -> Typed<F, In>
where
    F: Fn(In, CommandContext) -> Fut + Send + Sync,
    In: DeserializeOwned + Send,
    Fut: Future<Output = Result<Out>> + Send,
    Out: Serialize + Send,
{
    Typed {
        function,
        payload: PhantomData,
    }
}

/// The handler that [`typed`] makes.
pub struct Typed<F, In> {
    function: F,
    /// It takes an `In` and holds none.
    payload: PhantomData<fn(In)>,
}

#[async_trait]
impl<F, In, Fut, Out> Handler for Typed<F, In>
where
    F: Fn(In, CommandContext) -> Fut + Send + Sync,
    In: DeserializeOwned + Send,
    Fut: Future<Output = Result<Out>> + Send,
    Out: Serialize + Send,
{
    async fn handle(&self, payload: Value, context: CommandContext) -> Result<Value> {
        let payload = serde_json::from_value(payload).map_err(|error| {
            LaneError::unrecoverable(format!(
                "payload does not fit {}: {error}",
                type_name::<In>()
            ))
        })?;
        let result = (self.function)(payload, context).await?;
        serde_json::to_value(result).map_err(|error| {
            LaneError::unrecoverable(format!(
                "result of type {} cannot be written as JSON: {error}",
                type_name::<Out>()
            ))
        })
    }
}

impl<F: Clone, In> Clone for Typed<F, In> {
    fn clone(&self) -> Self {
        Self {
            function: self.function.clone(),
            payload: PhantomData,
        }
    }
}

impl<F, In> fmt::Debug for Typed<F, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed")
            .field("payload", &type_name::<In>())
            .finish_non_exhaustive()
    }
}
