//! Many commands at once, without a native object for each.

use a3s_lane::{Command, CommandStatus, LaneError};
use napi::Result;
use napi::bindgen_prelude::BufferSlice;
use napi_derive::napi;

use crate::admission::Ticket;
use crate::fault::{Code, guard};
use crate::handle::NativeHandle;
use crate::hosted::{HostedCommand, Payload};
use crate::lane::NativeLane;

/// Bytes of one serial.
const SERIAL: usize = size_of::<f64>();

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
    /// the number of its kind; into `serials`, an array of 64-bit floats, comes for each the number of which `idOf` makes its
    /// id. Returns those that were refused. Left out when it would have to wait: then each needs a handle of its own.
    #[napi]
    pub fn submit_tokens(
        &self,
        lane_id: String,
        records: &[u32],
        #[napi(ts_arg_type = "Uint8Array")] mut serials: BufferSlice<'_>,
    ) -> Result<Option<Vec<NativeRefused>>, Code> {
        guard(|| {
            let bridge = self.queue.bridge()?;
            let mut commands: Vec<(Box<dyn Command>, u32)> = Vec::with_capacity(records.len() / 2);
            for record in records.chunks_exact(2) {
                let kind = bridge.kinds.get(record[1] as usize);
                let kind = kind.ok_or_else(|| LaneError::QueueError("an unknown kind".into()))?;
                let command = HostedCommand::new(bridge, kind, Payload::Token(record[0]));
                commands.push((command, record[0]));
            }
            let mut refused = Vec::new();
            let submitted = self.queue.inside(|manager| {
                let Ok(answers) = manager.submit_to(&bridge.sink, &lane_id, commands) else {
                    return Ok(false);
                };
                let places = serials.chunks_exact_mut(SERIAL);
                let records = records.chunks_exact(2);
                for (index, ((answer, record), place)) in
                    answers.into_iter().zip(records).zip(places).enumerate()
                {
                    match answer {
                        Ok(ticket) => {
                            place.copy_from_slice(&(ticket.serial() as f64).to_ne_bytes());
                            bridge.tickets.put(record[0], ticket);
                        }
                        Err(error) => {
                            let error = LaneError::from(error);
                            refused.push(NativeRefused {
                                index: index as u32,
                                code: error.code().to_owned(),
                                message: error.to_string(),
                            });
                        }
                    }
                }
                Ok(true)
            })?;
            self.queue.subscriptions.collect();
            Ok(submitted.then_some(refused))
        })
    }

    /// The handle of a command that was submitted with `submitTokens`; left out when it has settled.
    #[napi]
    pub fn handle_of(&self, token: u32) -> Result<Option<NativeHandle>, Code> {
        guard(|| {
            let Some(ticket) = self.queue.bridge()?.tickets.get(token) else {
                return Ok(None);
            };
            let handle = self.queue.manager()?.handle_of(ticket);
            Ok(handle.map(|handle| NativeHandle::new(&self.queue, Ticket::In(handle))))
        })
    }

    /// How a command has settled of which JavaScript was not told yet, as a number; left out when there is none.
    #[napi]
    pub fn untold(&self, token: u32) -> Result<Option<u32>, Code> {
        guard(|| Ok(self.queue.bridge()?.untold(token).map(number_of)))
    }

    /// The id of a command by its number.
    #[napi]
    pub fn id_of(&self, serial: f64) -> Result<String, Code> {
        guard(|| Ok(self.queue.manager()?.id_of(serial as u64)))
    }
}

/// As in `npm/lib/handle.js`.
pub(crate) fn number_of(status: CommandStatus) -> u32 {
    match status {
        CommandStatus::TimedOut => 1,
        CommandStatus::Cancelled => 2,
        CommandStatus::Expired => 3,
        CommandStatus::Completed => 4,
        _ => 0,
    }
}
