//! What JavaScript says about one command or one attempt that it hosts, outside of the batches.

use std::sync::Arc;

use a3s_lane::{Command, CommandContext, LaneError};
use napi::Result;
use napi_derive::napi;
use serde_json::Value;

use crate::admission::Ticket;
use crate::bridge::{Bridge, Outcome};
use crate::calls::CallId;
use crate::exchange::number_of;
use crate::fault::{Code, Fault, guard};
use crate::handle::{NativeAnswer, NativeHandle};
use crate::hosted::{HostedCommand, Payload, failure_at};
use crate::lane::NativeLane;
use crate::options::{NativeCommand, Prepared};
use crate::payload;
use crate::queue::Queue;
use crate::range::large;
use crate::runtime::runtime;

/// What a handler may want to know of its attempt.
#[napi(object, object_from_js = false)]
pub struct NativeFacts {
    /// The command's id.
    pub id: String,
    /// The id of its lane.
    pub lane_id: String,
    /// JSON text of an object.
    pub metadata: String,
    /// How long the attempt may still take; left out without a limit.
    pub time_left_ms: Option<f64>,
}

#[napi]
impl NativeLane {
    /// Submits a command that JavaScript knows by `token`, and does not wait. Without a payload JavaScript keeps it.
    #[napi]
    pub fn enqueue_hosted(
        &self,
        lane_id: String,
        command: NativeCommand,
        token: u32,
    ) -> Result<NativeHandle, Code> {
        guard(|| {
            let bridge = self.queue.bridge()?;
            let (command, is_json) = self.queue.prepare_hosted(&lane_id, command, token)?;
            let ticket = self.queue.enqueue(&lane_id, command)?;
            self.queue
                .within(|| settle(bridge, token, ticket.clone(), is_json));
            Ok(NativeHandle::new(&self.queue, ticket))
        })
    }

    /// Submits commands in their order, as `enqueueHosted`.
    #[napi]
    pub fn submit_many_hosted(
        &self,
        lane_id: String,
        commands: Vec<NativeCommand>,
        tokens: Vec<u32>,
    ) -> Result<Vec<NativeAnswer>, Code> {
        guard(|| {
            let bridge = self.queue.bridge()?;
            let mut modes = Vec::with_capacity(commands.len());
            let prepared = commands
                .into_iter()
                .zip(&tokens)
                .map(|(command, token)| {
                    let prepared = self.queue.prepare_hosted(&lane_id, command, *token);
                    modes.push(prepared.as_ref().is_ok_and(|(_, is_json)| *is_json));
                    prepared.map(|(command, _)| command)
                })
                .collect();
            let answers = self.queue.enqueue_many(&lane_id, prepared)?;
            self.queue.within(|| {
                for ((answer, token), is_json) in answers.iter().zip(tokens).zip(modes) {
                    if let Ok(ticket) = answer {
                        settle(bridge, token, ticket.clone(), is_json);
                    }
                }
            });
            let answers = answers.into_iter();
            Ok(answers
                .map(|answer| NativeAnswer::new(&self.queue, answer))
                .collect())
        })
    }

    /// Submits a command on behalf of a running one, which lends it its slots until it has settled. What becomes of it is
    /// told later, a refusal too.
    #[napi]
    pub fn submit_child(
        &self,
        place: u32,
        run: u32,
        lane_id: String,
        command: NativeCommand,
        token: u32,
    ) -> Result<(), Code> {
        guard(|| {
            let bridge = self.queue.bridge()?;
            let context = bridge.calls.context(CallId { place, run });
            let context = context.ok_or_else(|| {
                LaneError::Cancelled("the attempt that submits it has ended".into())
            })?;
            let (command, is_json) = self.queue.prepare_hosted(&lane_id, command, token)?;
            let child = async move {
                let Prepared { body, options, .. } = command;
                let handle = context.submit_child(&lane_id, body, options).await;
                drop(context);
                let value = handle.map_err(LaneError::from)?.await?;
                Ok(outcome(value, is_json))
            };
            self.queue.inside(|_| {
                bridge.settle_with(token, child);
                Ok(())
            })
        })
    }

    /// A call has a result that leaves JavaScript.
    #[napi]
    pub fn finish_json(&self, place: u32, run: u32, result: Option<String>) -> Result<(), Code> {
        guard(|| {
            let result = payload::parse_named("result", result.as_deref())?;
            self.queue.finish(CallId { place, run }, Ok(result))?;
            Ok(())
        })
    }

    /// A call has failed. Returns the text of its error. `stack` says where. `code` is that of the `LaneError` that was thrown, if it was one.
    #[napi]
    pub fn fail(
        &self,
        place: u32,
        run: u32,
        code: Option<String>,
        message: String,
        stack: Option<String>,
    ) -> Result<String, Code> {
        guard(|| {
            let error = failure_at(code.as_deref(), &message, stack);
            let text = error.to_string();
            self.queue.finish(CallId { place, run }, Err(error))?;
            Ok(text)
        })
    }

    /// What is known of an attempt; left out when it has ended.
    #[napi]
    pub fn facts(&self, place: u32, run: u32) -> Result<Option<NativeFacts>, Code> {
        guard(|| {
            let context = self.queue.bridge()?.calls.context(CallId { place, run });
            let Some(context) = context else {
                return Ok(None);
            };
            Ok(Some(NativeFacts {
                id: context.id(),
                lane_id: context.lane_id().to_owned(),
                metadata: serde_json::to_string(context.metadata())?,
                time_left_ms: context.time_left().map(|left| left.as_secs_f64() * 1000.0),
            }))
        })
    }

    /// Why an attempt was asked to stop, if it was.
    #[napi]
    pub fn stop_reason(&self, place: u32, run: u32) -> Result<Option<u32>, Code> {
        guard(|| {
            let context = self.queue.bridge()?.calls.context(CallId { place, run });
            let reason = context.and_then(|context| context.stop_reason());
            Ok(reason.map(number_of))
        })
    }

    /// Has JavaScript told when the attempt is asked to stop. Returns why it was already, if it was.
    #[napi]
    pub fn watch(&self, place: u32, run: u32) -> Result<Option<u32>, Code> {
        guard(|| {
            let bridge = self.queue.bridge()?;
            let id = CallId { place, run };
            self.queue.aside(|_| {
                bridge.calls.watch(id);
                Ok(())
            })?;
            let reason = bridge.calls.context(id);
            let reason = reason.and_then(|context| context.stop_reason());
            Ok(reason.map(number_of))
        })
    }

    /// Tells how far an attempt is, as JSON text.
    #[napi]
    pub fn report_progress(
        &self,
        place: u32,
        run: u32,
        progress: Option<String>,
    ) -> Result<(), Code> {
        guard(|| {
            let progress = payload::parse_named("progress", progress.as_deref())?;
            self.queue
                .tell(CallId { place, run }, |context| context.progress(progress))
        })
    }

    /// Hands out a part of a result, as JSON text.
    #[napi]
    pub fn emit_chunk(&self, place: u32, run: u32, chunk: Option<String>) -> Result<(), Code> {
        guard(|| {
            let chunk = payload::parse_named("chunk", chunk.as_deref())?;
            self.queue
                .tell(CallId { place, run }, |context| context.emit(chunk))
        })
    }

    /// Shows that an attempt gets on.
    #[napi]
    pub fn heartbeat(&self, place: u32, run: u32) -> Result<(), Code> {
        guard(|| {
            self.queue
                .tell(CallId { place, run }, |context| context.heartbeat())
        })
    }

    /// Corrects what an attempt was charged.
    #[napi]
    pub fn settle_cost(&self, place: u32, run: u32, cost: f64) -> Result<(), Code> {
        guard(|| {
            let cost = large("cost", cost, 0).map_err(Fault::invalid_argument)?;
            self.queue
                .tell(CallId { place, run }, |context| context.settle_cost(cost))
        })
    }
}

/// Has JavaScript told what becomes of a command that was submitted.
fn settle(bridge: &Arc<Bridge>, token: u32, ticket: Ticket, is_json: bool) {
    bridge.settle_with(token, async move {
        Ok(outcome(ticket.result().await?, is_json))
    });
}

fn outcome(value: Value, is_json: bool) -> Outcome {
    match is_json {
        true => Outcome::Json(value.to_string()),
        false => Outcome::of_token(&value),
    }
}

impl Queue {
    /// A command whose payload is JSON text.
    pub(crate) fn prepare(
        &self,
        lane_id: &str,
        command: NativeCommand,
    ) -> std::result::Result<Prepared, Fault> {
        let hosted = self.hosted().map(|bridge| {
            |command_type: &str, payload: Value| -> Box<dyn Command> {
                let kind = bridge.kinds.find(lane_id, command_type);
                HostedCommand::new(bridge, kind, Payload::Json(None, payload))
            }
        });
        command.prepare(hosted)
    }

    /// A command that JavaScript knows by `token`; also whether its payload and result leave JavaScript.
    fn prepare_hosted(
        &self,
        lane_id: &str,
        mut command: NativeCommand,
        token: u32,
    ) -> std::result::Result<(Prepared, bool), Fault> {
        let bridge = self.bridge()?;
        let stays = command.stays == Some(true);
        if stays && payload::parse(command.payload.as_deref()).is_err() {
            // Its dead letter has none.
            command.payload = None;
        }
        let is_json = command.payload.is_some() && !stays;
        let is_kept = command.payload.is_some() && stays;
        let hosted = |command_type: &str, payload: Value| -> Box<dyn Command> {
            let kind = bridge.kinds.find(lane_id, command_type);
            let payload = match (is_json, is_kept) {
                (true, _) => Payload::Json(Some(token), payload),
                (_, true) => Payload::Kept(token, payload),
                _ => Payload::Token(token),
            };
            HostedCommand::new(bridge, kind, payload)
        };
        Ok((command.prepare(Some(hosted))?, is_json))
    }

    fn finish(
        &self,
        call: CallId,
        result: a3s_lane::Result<Value>,
    ) -> std::result::Result<(), Fault> {
        let bridge = self.bridge()?;
        self.inside(|_| {
            bridge.calls.finish(call, result);
            Ok(())
        })?;
        self.subscriptions.collect();
        Ok(())
    }

    /// Says something about an attempt that has not ended.
    fn tell(
        &self,
        call: CallId,
        say: impl FnOnce(&CommandContext),
    ) -> std::result::Result<(), Fault> {
        let context = self.bridge()?.calls.context(call);
        if let Some(context) = context {
            self.inside(|_| {
                say(&context);
                Ok(())
            })?;
            self.subscriptions.collect();
        }
        Ok(())
    }

    /// An error if this thread must run something before a command of this lane can start: it would wait for itself.
    pub(crate) fn refuse_to_block(
        &self,
        lane_id: &str,
        command_type: &str,
    ) -> std::result::Result<(), Fault> {
        let Some(bridge) = self.hosted() else {
            return Ok(());
        };
        if bridge.kinds.is_handled(command_type) {
            return Err(Fault::would_block(format!(
                "submit() would block the thread that runs the handler of '{command_type}': use submitAsync()"
            )));
        }
        if bridge.calls.count() == 0 && !self.is_busy(bridge, None)? {
            return Ok(());
        }
        let manager = self.manager()?;
        let stats = runtime()?.block_on(manager.stats())?;
        let lane_is_full = stats
            .lanes
            .get(lane_id)
            .is_some_and(|lane| lane.active + lane.pending >= lane.max);
        let total_is_reached = manager
            .snapshot()
            .total_limit
            .is_some_and(|total| stats.total_active + stats.total_pending >= total);
        if (lane_is_full && self.is_busy(bridge, Some(lane_id))?) || total_is_reached {
            return Err(Fault::would_block(format!(
                "submit() would block the thread whose handlers lane '{lane_id}' waits for: use submitAsync()"
            )));
        }
        Ok(())
    }

    /// Whether commands that this thread must run have not settled. Nobody knows which of the restored ones are in which lane.
    fn is_busy(&self, bridge: &Bridge, lane_id: Option<&str>) -> std::result::Result<bool, Fault> {
        let is_busy = bridge.kinds.is_busy(lane_id);
        if is_busy || self.storage.is_none() || !bridge.kinds.has_handlers() {
            return Ok(is_busy);
        }
        let (pending, active) = self.load()?;
        Ok(pending + active > 0)
    }

    /// An error if this thread must run something before the queue can be empty.
    pub(crate) fn refuse_to_drain(&self) -> std::result::Result<(), Fault> {
        let Some(bridge) = self.hosted() else {
            return Ok(());
        };
        if bridge.calls.count() == 0 && !self.is_busy(bridge, None)? {
            return Ok(());
        }
        Err(Fault::would_block(
            "drain() would block the thread whose handlers it waits for: use drainAsync()",
        ))
    }
}
