//! What JavaScript and the bridge say to each other.
//!
//! Both directions are lists of 32-bit numbers in arrays that JavaScript owns; the first number of an array is that of its
//! records. Texts come beside them. `npm/lib/bridge.js` has the other half.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use a3s_lane::{Command, LaneError, StopReason};
use napi::bindgen_prelude::{Buffer, Function, FunctionCallContext, Uint32Array};
use napi::{Env, Result};
use napi_derive::napi;
use serde_json::Value;

use crate::batch::number_of as status_number;
use crate::bridge::{Bridge, Message, Outcome, Settled};
use crate::calls::{CallId, Subject};
use crate::fault::{Code, Fault, guard};
use crate::hosted::{HostedCommand, HostedHandler, Kind, Payload};
use crate::lane::NativeLane;
use crate::queue::Queue;
use crate::runtime::runtime;
use crate::signal::Signal;

/// Numbers of one record that JavaScript writes.
const SAID: usize = 3;
/// Numbers of one record that it reads.
const TOLD: usize = 6;
/// Bytes of one number.
const NUMBER: usize = size_of::<u32>();
/// With the number of records that JavaScript writes: it reads none now.
const SAYS_ONLY: u32 = 1 << 31;
/// Stands for a token where there is none: -1 in JavaScript.
const NO_TOKEN: u32 = u32::MAX;

/// The kinds of records that JavaScript writes.
mod said {
    /// A command: token, kind.
    pub(super) const SUBMIT: u32 = 1;
    /// A call has a result, which JavaScript keeps: place, run.
    pub(super) const FINISH: u32 = 2;
    /// There is no handler any more, so the result is the payload: place, run.
    pub(super) const ECHO: u32 = 3;
}

/// The kinds of records that JavaScript reads. A call is two numbers, its place and its run.
mod told {
    /// Begin a call: place, run, token, attempt.
    pub(super) const CALL: u32 = 1;
    /// Begin a call whose payload is a text: place, run, token (-1: none), attempt, text (type, payload).
    pub(super) const CALL_JSON: u32 = 2;
    /// An attempt is asked to stop: place, run, reason.
    pub(super) const STOP: u32 = 3;
    /// An attempt is over: place, run, reason, text (id, lane).
    pub(super) const OVER: u32 = 4;
    /// A command has completed: token, whether its newest call gave the result, or it is the payload.
    pub(super) const COMPLETED: u32 = 5;
    /// A command has completed with a result that is a text: token, text.
    pub(super) const COMPLETED_JSON: u32 = 6;
    /// A command has failed: token, text (code, message), status.
    pub(super) const FAILED: u32 = 7;
    /// The next report of a command: number, whether there is one, text.
    pub(super) const REPORT: u32 = 8;
}

#[napi]
impl NativeLane {
    /// Makes this JavaScript thread the place where handlers run. `wake` is called when there is something to take with `exchange`,
    /// the function that this returns: it takes the records of `inbox`, lets the queue act on them, and fills `outbox` with records.
    /// It returns their texts. The second number of `outbox` says whether there are more.
    ///
    /// A function that has its arrays is called in less than half of the time that a method takes which is given them.
    #[napi(ts_return_type = "() => Array<string> | null")]
    pub fn host<'env>(
        &self,
        env: &'env Env,
        wake: Function<'_, (), ()>,
        inbox: Uint32Array,
        #[napi(ts_arg_type = "Uint8Array")] outbox: Buffer,
    ) -> Result<Function<'env, (), Option<Vec<String>>>, Code> {
        guard(|| {
            let bridge = Bridge::new(Signal::new(&wake)?);
            self.queue.set_bridge(bridge)?;
            let queue = Arc::clone(&self.queue);
            let outbox = RefCell::new(outbox);
            let exchange = move |call: FunctionCallContext<'_>| {
                let told = guard(|| queue.exchange(&inbox, &outbox));
                told.or_else(|error| {
                    let (code, text) = (error.status.as_ref(), &error.reason);
                    call.env.throw_error(text, Some(code)).map(|()| None)
                })
            };
            Ok(env.create_function_from_closure("exchange", exchange)?)
        })
    }

    /// The number of a lane and a command type in the records of `exchange`; left out when there are too many.
    #[napi]
    pub fn kind(&self, lane_id: String, command_type: String) -> Result<Option<u32>, Code> {
        guard(|| {
            let number = self.queue.bridge()?.kinds.number(&lane_id, &command_type);
            Ok(number.map(|number| number as u32))
        })
    }

    /// Commands of this type are run by JavaScript from now on, or no longer.
    #[napi]
    pub fn set_handled(&self, command_type: String, is_handled: bool) -> Result<(), Code> {
        guard(|| {
            let bridge = self.queue.bridge()?;
            bridge.kinds.set_handled(&command_type, is_handled);
            let manager = self.queue.manager()?;
            if is_handled {
                let handler = HostedHandler {
                    bridge: Arc::clone(bridge),
                    command_type: command_type.clone(),
                };
                manager.register_handler_on(command_type, handler, bridge.event_loop.clone());
            } else {
                manager.remove_handler(&command_type);
            }
            Ok(())
        })
    }
}

impl Queue {
    fn exchange(
        self: &Arc<Self>,
        inbox: &[u32],
        outbox: &RefCell<Buffer>,
    ) -> std::result::Result<Option<Vec<String>>, Fault> {
        let bridge = self.bridge()?;
        let says_only = inbox.first().is_some_and(|count| count & SAYS_ONLY != 0);
        let mut nothing = [0; 2 * NUMBER];
        // JavaScript is not called from inside, so it does not come back here before this has ended.
        let mut outbox = outbox.borrow_mut();
        let mut writer = Writer::new(if says_only { &mut nothing } else { &mut outbox });
        let (heard, more) = bridge.exchange(
            || self.hear(bridge, inbox),
            |heard, messages| {
                // With an error JavaScript gets no messages: the next call has them.
                if heard.is_ok() {
                    writer.write(bridge, messages);
                }
            },
        );
        if heard.is_err() && more {
            bridge.remind();
        }
        heard?;
        Ok(writer.end(more))
    }

    /// Acts on the records of JavaScript.
    fn hear(
        self: &Arc<Self>,
        bridge: &Arc<Bridge>,
        inbox: &[u32],
    ) -> std::result::Result<(), Fault> {
        let _inside = runtime()?.enter();
        let Some((&count, records)) = inbox.split_first() else {
            return Ok(());
        };
        // Commands that follow each other and go to one lane go there together.
        let mut batch = Batch::default();
        let count = (count & !SAYS_ONLY) as usize;
        for record in records.chunks_exact(SAID).take(count) {
            if record[0] == said::SUBMIT {
                self.collect(bridge, &mut batch, record[1], record[2])?;
                continue;
            }
            self.submit_batch(bridge, &mut batch)?;
            let (place, run) = (record[1], record[2]);
            let result = match record[0] {
                said::FINISH => Outcome::returned(),
                said::ECHO => Value::Null,
                _ => return Err(LaneError::QueueError("an unknown record".into()).into()),
            };
            bridge.calls.finish(CallId { place, run }, Ok(result));
        }
        self.submit_batch(bridge, &mut batch)?;
        self.subscriptions.collect();
        Ok(())
    }

    /// Adds a command whose payload stays in JavaScript to a batch.
    fn collect(
        self: &Arc<Self>,
        bridge: &Arc<Bridge>,
        batch: &mut Batch,
        token: u32,
        kind: u32,
    ) -> std::result::Result<(), Fault> {
        let known = batch.kind.as_ref().filter(|(number, _)| *number == kind);
        let kind = match known {
            Some((_, known)) => Arc::clone(known),
            None => {
                let found = bridge.kinds.get(kind as usize);
                let found = found.ok_or_else(|| LaneError::QueueError("an unknown kind".into()))?;
                if let Some((_, before)) = &batch.kind
                    && before.lane_id != found.lane_id
                {
                    self.submit_batch(bridge, batch)?;
                }
                batch.kind = Some((kind, Arc::clone(&found)));
                found
            }
        };
        let command = HostedCommand::new(bridge, kind, Payload::Token(token));
        batch.commands.push((command, token));
        Ok(())
    }

    /// Submits a batch. What becomes of its commands is told later, a refusal too.
    fn submit_batch(
        self: &Arc<Self>,
        bridge: &Arc<Bridge>,
        batch: &mut Batch,
    ) -> std::result::Result<(), Fault> {
        let commands = std::mem::take(&mut batch.commands);
        let Some((_, kind)) = batch.kind.as_ref().filter(|_| !commands.is_empty()) else {
            return Ok(());
        };
        let tokens: Vec<u32> = commands.iter().map(|(_, token)| *token).collect();
        let manager = self.manager()?;
        match manager.submit_to(&bridge.sink, &kind.lane_id, commands) {
            Ok(answers) => {
                for (answer, token) in answers.into_iter().zip(tokens) {
                    if let Err(refused) = answer {
                        bridge.refuse(token, LaneError::from(refused).into());
                    }
                }
            }
            // Such as in a lane that says to wait when it is full: somebody must drive the rest.
            Err(commands) => {
                for (command, token) in commands {
                    let (queue, kind) = (Arc::clone(self), Arc::clone(kind));
                    bridge.settle_with(token, async move {
                        let receipt = queue.submit(&kind.lane_id, command).await?;
                        drop(queue);
                        Ok(Outcome::of_token(&receipt.value().await?))
                    });
                }
            }
        }
        Ok(())
    }
}

/// Commands for one lane.
#[derive(Default)]
struct Batch {
    /// That of the last command, with its number.
    kind: Option<(u32, Arc<Kind>)>,
    commands: Vec<(Box<dyn Command>, u32)>,
}

/// Writes records.
struct Writer<'a> {
    /// The bytes of JavaScript's array.
    outbox: &'a mut [u8],
    count: usize,
    texts: Vec<String>,
}

impl<'a> Writer<'a> {
    fn new(outbox: &'a mut [u8]) -> Self {
        Self {
            outbox,
            count: 0,
            texts: Vec::new(),
        }
    }

    /// Writes messages as long as there is room.
    fn write(&mut self, bridge: &Bridge, messages: &mut VecDeque<Message>) {
        let room = (self.outbox.len() / NUMBER).saturating_sub(2) / TOLD;
        while self.count < room {
            let Some(message) = messages.pop_front() else {
                return;
            };
            if let Some(record) = self.record(bridge, message) {
                let at = (2 + self.count * TOLD) * NUMBER;
                let bytes = self.outbox[at..at + TOLD * NUMBER].chunks_exact_mut(NUMBER);
                for (bytes, number) in bytes.zip(record) {
                    bytes.copy_from_slice(&number.to_ne_bytes());
                }
                self.count += 1;
            }
        }
    }

    fn record(&mut self, bridge: &Bridge, message: Message) -> Option<[u32; TOLD]> {
        Some(match message {
            Message::Call(id) => {
                let CallId { place, run } = id;
                match bridge.calls.deliver(id)? {
                    (Subject::Token(token), attempt) => [told::CALL, place, run, token, attempt, 0],
                    (Subject::Json(token, command_type, payload), attempt) => {
                        let token = token.unwrap_or(NO_TOKEN);
                        let text = self.texts([command_type, payload]);
                        [told::CALL_JSON, place, run, token, attempt, text]
                    }
                }
            }
            Message::Stop(CallId { place, run }, reason) => {
                [told::STOP, place, run, number_of(reason), 0, 0]
            }
            Message::Over(CallId { place, run }, reason, names) => {
                let (id, lane) = *names;
                let text = self.texts([id, lane]);
                [told::OVER, place, run, number_of(reason), text, 0]
            }
            Message::Report(number, None) => [told::REPORT, number, 0, 0, 0, 0],
            Message::Report(number, Some(report)) => {
                [told::REPORT, number, 1, self.texts([report]), 0, 0]
            }
            Message::Completed(token, returned) => {
                bridge.tickets.forget(token);
                [told::COMPLETED, token, u32::from(returned), 0, 0, 0]
            }
            Message::Settled(token, settled) => {
                bridge.tickets.forget(token);
                self.settled(token, *settled)
            }
        })
    }

    fn settled(&mut self, token: u32, Settled { result, status }: Settled) -> [u32; TOLD] {
        match result {
            Ok(Outcome::Payload) => [told::COMPLETED, token, 0, 0, 0, 0],
            Ok(Outcome::Returned) => [told::COMPLETED, token, 1, 0, 0, 0],
            Ok(Outcome::Json(text)) => [told::COMPLETED_JSON, token, self.texts([text]), 0, 0, 0],
            Err(fault) => {
                let text = self.texts([fault.code.to_owned(), fault.message]);
                [told::FAILED, token, text, status_number(status), 0, 0]
            }
        }
    }

    /// Adds texts, and returns the index of the first.
    fn texts<const N: usize>(&mut self, texts: [String; N]) -> u32 {
        let index = self.texts.len();
        self.texts.extend(texts);
        index as u32
    }

    fn set(&mut self, index: usize, number: u32) {
        let bytes = index * NUMBER..(index + 1) * NUMBER;
        self.outbox[bytes].copy_from_slice(&number.to_ne_bytes());
    }

    fn end(mut self, more: bool) -> Option<Vec<String>> {
        self.set(0, self.count as u32);
        self.set(1, u32::from(more));
        (!self.texts.is_empty()).then_some(self.texts)
    }
}

/// As in `npm/lib/context.js`.
pub(crate) fn number_of(reason: StopReason) -> u32 {
    match reason {
        StopReason::Deadline => 1,
        StopReason::Stall => 2,
        StopReason::Cancel => 3,
        StopReason::Preempt => 4,
        _ => 5,
    }
}
