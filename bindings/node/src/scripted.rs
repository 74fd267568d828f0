//! Commands that follow a script, for tests.

use std::sync::Arc;

use a3s_lane::testing::ScriptedCommand;
use napi::bindgen_prelude::Object;
use napi::{Env, Result};
use napi_derive::napi;

use crate::admission::begin;
use crate::fault::{Code, guard};
use crate::lane::NativeLane;
use crate::outcome::promise;
use crate::payload;
use crate::runtime::runtime;

#[napi]
impl NativeLane {
    /// Submits a command whose attempts follow `script` (JSON text), without options. The promise is that of its result.
    #[napi(ts_return_type = "Promise<NativeOutcome>")]
    pub fn submit_scripted<'env>(
        &self,
        env: &'env Env,
        lane_id: String,
        command_type: String,
        script: String,
    ) -> Result<Object<'env>, Code> {
        guard(|| {
            let script = payload::parse(Some(&script))?;
            let command = ScriptedCommand::from_json(command_type, &script)?;
            let queue = Arc::clone(&self.queue);
            let mut submitting =
                Box::pin(async move { queue.submit(&lane_id, Box::new(command)).await });
            let receipt = match self.queue.inline {
                true => Some(runtime()?.block_on(submitting.as_mut())?),
                false => begin(submitting.as_mut())?.transpose()?,
            };
            let queue = Arc::clone(&self.queue);
            promise(env, runtime()?, async move {
                let receipt = match receipt {
                    Some(receipt) => receipt,
                    None => submitting.await?,
                };
                let result = receipt.text().await;
                // The queue lives at least as long as the command.
                drop(queue);
                result.map(Some)
            })
        })
    }
}
