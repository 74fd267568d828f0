//! Commands that failed for good.

use std::sync::Arc;

use a3s_lane::{DeadLetterFilter, DeadLetters};
use napi::bindgen_prelude::Object;
use napi::{Env, Result};
use napi_derive::napi;

use crate::admission::Ticket;
use crate::fault::{Code, Fault, guard};
use crate::handle::{NativeAnswer, NativeHandle};
use crate::lane::NativeLane;
use crate::outcome::{promise, promise_of};
use crate::payload;
use crate::queue::Queue;
use crate::runtime::runtime;

/// What a call made of each letter, or why it failed as a whole.
#[napi(object, object_from_js = false)]
pub struct NativeRetried {
    /// The ids of the commands.
    pub ids: Vec<String>,
    /// One for each.
    pub answers: Vec<NativeAnswer>,
    /// The error's kind, when the call failed.
    pub code: Option<String>,
    /// The error's text, when the call failed.
    pub message: Option<String>,
}

type Answers = Vec<(String, std::result::Result<NativeHandle, Fault>)>;

impl NativeRetried {
    fn of(retried: std::result::Result<Answers, Fault>) -> Self {
        let mut told = Self {
            ids: Vec::new(),
            answers: Vec::new(),
            code: None,
            message: None,
        };
        match retried {
            Ok(answers) => {
                for (id, answer) in answers {
                    told.ids.push(id);
                    told.answers.push(NativeAnswer::of(answer.map(Some)));
                }
            }
            Err(fault) => {
                told.code = Some(fault.code.to_owned());
                told.message = Some(fault.message);
            }
        }
        told
    }
}

/// The filters of all functions are the core's, as JSON text.
#[napi]
impl NativeLane {
    /// Dead letters, as JSON text.
    #[napi(ts_return_type = "Promise<NativeOutcome>")]
    pub fn list_letters<'env>(&self, env: &'env Env, filter: String) -> Result<Object<'env>, Code> {
        guard(|| {
            let (queue, filter) = (Arc::clone(&self.queue), filter_of(&filter)?);
            promise(env, runtime()?, async move {
                let found = queue.letters()?.list(&filter).await?;
                Ok(Some(serde_json::to_string(&found)?))
            })
        })
    }

    /// Submits the command of a letter again, with the old payload or this one, a JSON text.
    #[napi(ts_return_type = "Promise<NativeAnswer>")]
    pub fn retry_letter<'env>(
        &self,
        env: &'env Env,
        command_id: String,
        payload: Option<String>,
    ) -> Result<Object<'env>, Code> {
        guard(|| {
            let payload = payload
                .map(|text| payload::parse(Some(&text)))
                .transpose()?;
            let queue = Arc::clone(&self.queue);
            let retrying = async move {
                let letters = queue.letters()?;
                let handle = match payload {
                    Some(payload) => letters.retry_with(&command_id, payload).await,
                    None => letters.retry(&command_id).await,
                };
                Ok(Some(NativeHandle::new(&queue, Ticket::In(handle?))))
            };
            promise_of(env, runtime()?, retrying, NativeAnswer::of)
        })
    }

    /// Submits the commands of letters again.
    #[napi(ts_return_type = "Promise<NativeRetried>")]
    pub fn retry_letters<'env>(
        &self,
        env: &'env Env,
        filter: String,
    ) -> Result<Object<'env>, Code> {
        guard(|| {
            let (queue, filter) = (Arc::clone(&self.queue), filter_of(&filter)?);
            let retrying = async move {
                let retried = queue.letters()?.retry_all(&filter).await?.into_iter();
                let handle = |handle| NativeHandle::new(&queue, Ticket::In(handle));
                Ok(retried
                    .map(|(id, answer)| (id, answer.map(handle).map_err(Fault::from)))
                    .collect())
            };
            promise_of(env, runtime()?, retrying, NativeRetried::of)
        })
    }

    /// Throws letters away; the promise is that of how many, as text.
    #[napi(ts_return_type = "Promise<NativeOutcome>")]
    pub fn discard_letters<'env>(
        &self,
        env: &'env Env,
        filter: String,
    ) -> Result<Object<'env>, Code> {
        guard(|| {
            let (queue, filter) = (Arc::clone(&self.queue), filter_of(&filter)?);
            promise(env, runtime()?, async move {
                let discarded = queue.letters()?.discard(&filter).await?;
                Ok(Some(discarded.to_string()))
            })
        })
    }

    /// Letters as lines of JSON.
    #[napi(ts_return_type = "Promise<NativeOutcome>")]
    pub fn export_letters<'env>(
        &self,
        env: &'env Env,
        filter: String,
    ) -> Result<Object<'env>, Code> {
        guard(|| {
            let (queue, filter) = (Arc::clone(&self.queue), filter_of(&filter)?);
            promise(env, runtime()?, async move {
                Ok(Some(queue.letters()?.export(&filter).await?))
            })
        })
    }

    /// Keeps such letters; the promise is that of how many are new, as text.
    #[napi(ts_return_type = "Promise<NativeOutcome>")]
    pub fn import_letters<'env>(
        &self,
        env: &'env Env,
        lines: String,
    ) -> Result<Object<'env>, Code> {
        guard(|| {
            let queue = Arc::clone(&self.queue);
            promise(env, runtime()?, async move {
                let imported = queue.letters()?.import(&lines).await?;
                Ok(Some(imported.to_string()))
            })
        })
    }
}

impl Queue {
    fn letters(&self) -> std::result::Result<DeadLetters, Fault> {
        Ok(self.manager()?.dead_letters())
    }
}

fn filter_of(text: &str) -> std::result::Result<DeadLetterFilter, Fault> {
    serde_json::from_str(text)
        .map_err(|error| Fault::invalid_argument(format!("filter cannot be read: {error}")))
}
