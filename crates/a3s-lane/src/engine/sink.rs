//! Commands whose results go to one place, and handles of them that are made when somebody asks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::admission::{Crowded, Incoming, Refusal, Target};
use super::job::{Extras, Reply};
use super::trace::SubmitSpan;
use super::{Engine, State};
use crate::command::Command;
use crate::config::Overflow;
use crate::event::CommandName;
use crate::handle::{CommandHandle, CommandStatus, Shared};
use crate::scheduler::{CommandKey, LaneKey};
use crate::submission::{Refused, ResultSink};

/// Commands on their way to a lane, each with its token.
pub(crate) type Tokens = Vec<(Box<dyn Command>, u32)>;

impl State {
    /// Whether a submission to this lane may have to wait.
    fn may_wait(&self, lane: LaneKey) -> bool {
        let waits = |(_, overflow)| overflow == Overflow::Wait;
        self.lanes[lane.index()].must_await()
            || self.scheduler.lane(lane).max_pending.is_some_and(waits)
    }

    /// What handles share of a command that has not settled: it is made now, unless there was one.
    pub(super) fn watch(&mut self, engine: &Arc<Engine>, key: CommandKey) -> Option<Arc<Shared>> {
        let command = self.scheduler.command(key)?;
        let status = match (command.delayed, command.holds_slot) {
            (true, _) => CommandStatus::Delayed,
            (false, true) => CommandStatus::Running,
            (false, false) => CommandStatus::Pending,
        };
        let lane_id = &self.lanes[command.lane.index()].id;
        let job = self.scheduler.job_mut(key)?;
        let extras = job.reply.watch(|| {
            let extras = Extras::of_receiver(engine, lane_id, key.serial());
            extras.handle.set_status(status);
            extras
        });
        let handle = Arc::clone(&extras?.handle);
        self.tracked.insert(key.serial(), key);
        engine.has_late_handles.store(true, Ordering::Relaxed);
        Some(handle)
    }
}

impl Engine {
    /// Puts commands into a lane in their order, under one lock. Gives them back where one may have to wait.
    pub(crate) fn submit_to(
        self: &Arc<Self>,
        sink: &Arc<ResultSink>,
        lane_id: &str,
        commands: Tokens,
    ) -> Result<Vec<Result<CommandKey, Refused>>, Tokens> {
        if self.hooks.inline {
            return Err(commands);
        }
        let target = Target {
            id: lane_id,
            key: None,
        };
        // The user's code is called before the lock is taken, never under it.
        let spans: Vec<_> = commands
            .iter()
            .map(|(command, _)| SubmitSpan::new(lane_id, &**command))
            .collect();
        let now = self.now();
        let mut state = self.lock();
        let lane = state.admit(target);
        if lane.as_ref().is_ok_and(|lane| state.may_wait(*lane)) {
            return Err(commands);
        }
        let mut entered = Vec::with_capacity(commands.len());
        // Closed without the lock: whoever collects spans may use the queue.
        let mut unused = Vec::new();
        let answers = commands
            .into_iter()
            .zip(spans)
            .map(|((command, token), span)| {
                let refused = match &lane {
                    Err(error) => Some(error.duplicate()),
                    Ok(lane) => match state.has_room(*lane, false, None) {
                        Err(Crowded::Refused(error)) => Some(error),
                        // One that says wait was given back.
                        Ok(()) | Err(Crowded::Wait) => None,
                    },
                };
                let (lane, error) = (lane.as_ref().ok(), refused);
                let (Some(&lane), None) = (lane, &error) else {
                    let error = error.unwrap_or(crate::LaneError::ShutdownInProgress);
                    unused.push(span);
                    return Err(Refused::new(error, command));
                };
                let serial = state.scheduler.draw_serial();
                let incoming = Incoming {
                    command,
                    reply: Reply::to_sink(Arc::clone(sink), token),
                    terms: None,
                    span,
                };
                match state.enter(self, lane, serial, incoming, now) {
                    Ok(one) => {
                        let key = one.key();
                        entered.push(one);
                        Ok(key)
                    }
                    Err(Refusal { error, incoming }) => {
                        incoming.reply.forget();
                        unused.push(incoming.span);
                        Err(Refused::new(error, incoming.command))
                    }
                }
            });
        let answers = answers.collect();
        self.release_lock(state);
        drop(unused);
        for one in entered {
            self.entered(lane_id, one);
        }
        Ok(answers)
    }

    /// The handle of a command; `None` once it has settled.
    pub(crate) fn handle_of(self: &Arc<Self>, key: CommandKey) -> Option<CommandHandle> {
        self.lock().watch(self, key).map(CommandHandle::new)
    }

    /// What is kept with a running command since somebody has asked for its handle.
    pub(crate) fn late_extras(&self, key: CommandKey) -> Option<Arc<Extras>> {
        if !self.has_late_handles.load(Ordering::Relaxed) {
            return None;
        }
        let state = self.lock();
        state.scheduler.command(key)?.job.reply.extras().cloned()
    }

    /// The id of the command with this number.
    pub(crate) fn id_of(&self, serial: u64) -> String {
        CommandName::new(self.id_space, serial).to_string()
    }
}
