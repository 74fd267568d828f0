//! What JavaScript and the bridge say to each other.
//!
//! Both directions are lists of numbers, five to a record, in arrays that JavaScript owns; the first number of an array is
//! that of its records. Texts come beside them. `npm/lib/bridge.js` has the other half.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use a3s_lane::{CommandStatus, LaneError, StopReason};
use napi::Result;
use napi::bindgen_prelude::{BufferSlice, Function};
use napi_derive::napi;
use serde_json::Value;

use crate::batch::number_of as status_number;
use crate::bridge::{Bridge, Message, Outcome};
use crate::calls::Subject;
use crate::fault::{Code, Fault, guard};
use crate::hosted::{HostedCommand, HostedHandler, Payload};
use crate::lane::NativeLane;
use crate::queue::Queue;
use crate::runtime::runtime;
use crate::signal::Signal;

/// Numbers of one record.
const RECORD: usize = 5;
/// Bytes of one number.
const NUMBER: usize = size_of::<f64>();

/// The kinds of records that JavaScript writes.
mod said {
    /// A command: token, kind.
    pub(super) const SUBMIT: f64 = 1.0;
    /// A call has a result, which JavaScript keeps: call.
    pub(super) const FINISH: f64 = 2.0;
    /// There is no handler any more, so the result is the payload: call.
    pub(super) const ECHO: f64 = 3.0;
}

/// The kinds of records that JavaScript reads.
mod told {
    /// Begin a call: call, token, attempt.
    pub(super) const CALL: f64 = 1.0;
    /// Begin a call whose payload is a text: call, token (-1: none), attempt, text (type, payload).
    pub(super) const CALL_JSON: f64 = 2.0;
    /// An attempt is asked to stop: call, reason.
    pub(super) const STOP: f64 = 3.0;
    /// An attempt is over: call, reason, text (id, lane).
    pub(super) const OVER: f64 = 4.0;
    /// A command has completed: token, the call that gave the result (0: the payload).
    pub(super) const COMPLETED: f64 = 5.0;
    /// A command has completed with a result that is a text: token, text.
    pub(super) const COMPLETED_JSON: f64 = 6.0;
    /// A command has failed: token, text (code, message), status.
    pub(super) const FAILED: f64 = 7.0;
    /// The next report of a command: number, whether there is one, text.
    pub(super) const REPORT: f64 = 8.0;
}

#[napi]
impl NativeLane {
    /// Makes this JavaScript thread the place where handlers run. `wake` is called when there is something to take with
    /// `exchange`.
    #[napi]
    pub fn host(&self, wake: Function<'_, (), ()>) -> Result<(), Code> {
        guard(|| {
            let bridge = Bridge::new(Signal::new(&wake)?);
            self.queue.set_bridge(bridge)
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

    /// Takes the records of `inbox`, lets the queue act on them, and fills `outbox` with records. Returns their texts. The
    /// second number of `outbox` says whether there are more.
    #[napi]
    pub fn exchange(
        &self,
        inbox: &[f64],
        #[napi(ts_arg_type = "Uint8Array")] mut outbox: BufferSlice<'_>,
    ) -> Result<Option<Vec<String>>, Code> {
        guard(|| {
            let bridge = self.queue.bridge()?;
            let mut writer = Writer::new(&mut outbox);
            let (heard, more) = bridge.exchange(
                || self.queue.hear(bridge, inbox),
                |messages| writer.write(bridge, messages),
            );
            heard?;
            Ok(writer.end(more))
        })
    }
}

impl Queue {
    /// Acts on the records of JavaScript.
    fn hear(
        self: &Arc<Self>,
        bridge: &Arc<Bridge>,
        inbox: &[f64],
    ) -> std::result::Result<(), Fault> {
        let _inside = runtime()?.enter();
        let Some((&count, records)) = inbox.split_first() else {
            return Ok(());
        };
        for record in records.chunks_exact(RECORD).take(count as usize) {
            match record[0] {
                said::SUBMIT => self.submit_token(bridge, record[1] as u32, record[2] as usize)?,
                said::FINISH => {
                    let call = record[1] as u64;
                    bridge.calls.finish(call, Ok(Value::from(call)));
                }
                said::ECHO => _ = bridge.calls.finish(record[1] as u64, Ok(Value::Null)),
                _ => return Err(LaneError::QueueError("an unknown record".into()).into()),
            }
        }
        self.subscriptions.collect();
        Ok(())
    }

    /// Submits a command whose payload stays in JavaScript. What becomes of it is told later, a refusal too.
    fn submit_token(
        self: &Arc<Self>,
        bridge: &Arc<Bridge>,
        token: u32,
        kind: usize,
    ) -> std::result::Result<(), Fault> {
        let Some(kind) = bridge.kinds.get(kind) else {
            return Err(LaneError::QueueError("an unknown kind".into()).into());
        };
        let command = |kind| HostedCommand::new(bridge, kind, Payload::Token(token));
        let submitting = self
            .manager()?
            .submit(&kind.lane_id, command(Arc::clone(&kind)));
        let submitted = pin!(submitting).poll(&mut Context::from_waker(Waker::noop()));
        match submitted {
            Poll::Ready(Ok(receiver)) => bridge.await_receiver(token, receiver),
            Poll::Ready(Err(error)) => bridge.push(Message::settled(token, Err(error.into()))),
            // Such as a lane that is full and says to wait: somebody must drive the rest.
            Poll::Pending => {
                let (queue, command) = (Arc::clone(self), command(Arc::clone(&kind)));
                bridge.settle_with(token, async move {
                    let receipt = queue.submit(&kind.lane_id, command).await?;
                    drop(queue);
                    Ok(Outcome::of_token(&receipt.value().await?))
                });
            }
        }
        Ok(())
    }
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
        let room = (self.outbox.len() / NUMBER).saturating_sub(2) / RECORD;
        while self.count < room {
            let Some(message) = messages.pop_front() else {
                return;
            };
            if let Some(record) = self.record(bridge, message) {
                for (offset, number) in record.into_iter().enumerate() {
                    self.set(2 + self.count * RECORD + offset, number);
                }
                self.count += 1;
            }
        }
    }

    fn record(&mut self, bridge: &Bridge, message: Message) -> Option<[f64; RECORD]> {
        Some(match message {
            Message::Call(call) => match bridge.calls.deliver(call)? {
                (Subject::Token(token), attempt) => [
                    told::CALL,
                    call as f64,
                    f64::from(token),
                    f64::from(attempt),
                    0.0,
                ],
                (Subject::Json(token, command_type, payload), attempt) => {
                    let token = token.map_or(-1.0, f64::from);
                    let text = self.texts([command_type, payload]);
                    [
                        told::CALL_JSON,
                        call as f64,
                        token,
                        f64::from(attempt),
                        text,
                    ]
                }
            },
            Message::Stop(call, reason) => [told::STOP, call as f64, number(reason), 0.0, 0.0],
            Message::Over(call, reason, names) => {
                let (id, lane) = *names;
                let text = self.texts([id, lane]);
                [told::OVER, call as f64, number(reason), text, 0.0]
            }
            Message::Report(number, None) => [told::REPORT, f64::from(number), 0.0, 0.0, 0.0],
            Message::Report(number, Some(report)) => {
                let text = self.texts([report]);
                [told::REPORT, f64::from(number), 1.0, text, 0.0]
            }
            Message::Ready(token) => {
                let result = bridge.received(token)?;
                self.settled(token, result, bridge.told(token))
            }
            Message::Settled(token, result) => self.settled(token, *result, bridge.told(token)),
        })
    }

    fn settled(
        &mut self,
        token: u32,
        result: std::result::Result<Outcome, Fault>,
        status: Option<CommandStatus>,
    ) -> [f64; RECORD] {
        let token = f64::from(token);
        match result {
            Ok(Outcome::Payload) => [told::COMPLETED, token, 0.0, 0.0, 0.0],
            Ok(Outcome::Call(call)) => [told::COMPLETED, token, call as f64, 0.0, 0.0],
            Ok(Outcome::Json(text)) => [told::COMPLETED_JSON, token, self.texts([text]), 0.0, 0.0],
            Err(fault) => {
                let text = self.texts([fault.code.to_owned(), fault.message]);
                let status = status.map_or(0.0, status_number);
                [told::FAILED, token, text, status, 0.0]
            }
        }
    }

    /// Adds texts, and returns the index of the first.
    fn texts<const N: usize>(&mut self, texts: [String; N]) -> f64 {
        let index = self.texts.len();
        self.texts.extend(texts);
        index as f64
    }

    fn set(&mut self, index: usize, number: f64) {
        let bytes = index * NUMBER..(index + 1) * NUMBER;
        self.outbox[bytes].copy_from_slice(&number.to_ne_bytes());
    }

    fn end(mut self, more: bool) -> Option<Vec<String>> {
        self.set(0, self.count as f64);
        self.set(1, f64::from(u8::from(more)));
        (!self.texts.is_empty()).then_some(self.texts)
    }
}

fn number(reason: StopReason) -> f64 {
    f64::from(number_of(reason))
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
