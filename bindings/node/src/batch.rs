//! Many commands at once, without a native object for each.

use a3s_lane::{Command, CommandStatus, LaneError, SubmitOptions};
use napi::Result;
use napi_derive::napi;

use crate::admission::Ticket;
use crate::fault::{Code, guard};
use crate::handle::NativeHandle;
use crate::hosted::{HostedCommand, Payload};
use crate::lane::NativeLane;
use crate::runtime::runtime;

/// The length of an id that a command is given.
const ID: usize = 36;

/// What became of commands that were submitted together.
#[napi(object, object_from_js = false)]
pub struct NativeSubmittedBatch {
    /// The ids of all, one after the other, 36 characters each; spaces where a command was refused.
    pub ids: String,
    /// Those that were refused.
    pub refused: Vec<NativeRefused>,
}

/// A command that was refused.
#[napi(object, object_from_js = false)]
pub struct NativeRefused {
    /// Its place among those that were submitted together.
    pub index: u32,
    /// The error's kind.
    pub code: String,
    /// The error's text.
    pub message: String,
}

#[napi]
impl NativeLane {
    /// Submits commands without options in their order. Their payloads stay in JavaScript, which tells for each the token and
    /// the number of its kind. Left out when it would have to wait for room: then each needs a handle of its own.
    #[napi]
    pub fn submit_tokens(
        &self,
        lane_id: String,
        records: &[u32],
    ) -> Result<Option<NativeSubmittedBatch>, Code> {
        guard(|| {
            if self.queue.lanes.waits(&lane_id) {
                return Ok(None);
            }
            let bridge = self.queue.bridge()?;
            let mut commands: Vec<(Box<dyn Command>, SubmitOptions)> =
                Vec::with_capacity(records.len() / 2);
            for record in records.chunks_exact(2) {
                let kind = bridge.kinds.get(record[1] as usize);
                let kind = kind.ok_or_else(|| LaneError::QueueError("an unknown kind".into()))?;
                let command = HostedCommand::new(bridge, kind, Payload::Token(record[0]));
                commands.push((command, SubmitOptions::new()));
            }
            let (runtime, manager) = (runtime()?, self.queue.manager()?);
            let mut batch = NativeSubmittedBatch {
                ids: String::with_capacity(commands.len() * ID),
                refused: Vec::new(),
            };
            self.queue.within(|| {
                // No command of this lane waits, so this does not block.
                let answers = runtime.block_on(manager.submit_many(&lane_id, commands));
                for (index, (answer, record)) in
                    answers.into_iter().zip(records.chunks_exact(2)).enumerate()
                {
                    match answer {
                        Ok(handle) => {
                            debug_assert_eq!(handle.id().len(), ID);
                            batch.ids.push_str(handle.id());
                            bridge.await_handle(record[0], handle);
                        }
                        Err(refused) => {
                            let error = LaneError::from(refused);
                            batch.ids.extend(std::iter::repeat_n(' ', ID));
                            batch.refused.push(NativeRefused {
                                index: index as u32,
                                code: error.code().to_owned(),
                                message: error.to_string(),
                            });
                        }
                    }
                }
            });
            self.queue.subscriptions.collect();
            Ok(Some(batch))
        })
    }

    /// The handle of a command that was submitted with `submitTokens`; left out once JavaScript was told that it has settled.
    #[napi]
    pub fn handle_of(&self, token: u32) -> Result<Option<NativeHandle>, Code> {
        guard(|| {
            let handle = self.queue.bridge()?.handle(token);
            Ok(handle.map(|handle| NativeHandle::new(&self.queue, Ticket::In(handle))))
        })
    }
}

/// As in `npm/lib/handle.js`.
pub(crate) fn number_of(status: CommandStatus) -> f64 {
    match status {
        CommandStatus::TimedOut => 1.0,
        CommandStatus::Cancelled => 2.0,
        CommandStatus::Expired => 3.0,
        _ => 0.0,
    }
}
