//! Commands that an earlier run left in the storage.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use a3s_lane::{CommandContext, Handler, LaneError, LocalStorage, Result, StopReason, Storage};
use async_trait::async_trait;
use serde_json::Value;

use crate::exec;
use crate::job::{History, Shared};
use crate::outcome::Status;
use crate::payload::{Payload, TYPES};

/// The name under which a stored command keeps what its line expects.
pub(crate) const EXPECT: &str = "expect";
/// Commands that are read from the storage at a time.
const PAGE: usize = 1000;

/// A command of an earlier run.
#[derive(Debug, Clone)]
pub(crate) struct Resumed {
    pub(crate) id: String,
    /// Index of the lane in the configuration.
    pub(crate) lane: usize,
    pub(crate) kind: String,
    pub(crate) expect: Status,
}

/// What a storage held when the run began.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// What this run can go on with, oldest first.
    pub(crate) resumed: Vec<Resumed>,
    /// Commands of a lane or type that this run does not have; they stay where they are.
    pub(crate) unclaimed: usize,
    /// The ids of all of them.
    pub(crate) ids: HashSet<String>,
    /// The ids of dead letters.
    pub(crate) letters: HashSet<String>,
}

impl Stored {
    pub(crate) async fn read(storage: &LocalStorage, lanes: &[String]) -> Result<Self> {
        let mut stored = Self {
            letters: storage.dead_letter_ids().await?,
            ..Self::default()
        };
        let mut from = None;
        loop {
            let page = storage.load_page(from, PAGE).await?;
            for record in page.records {
                let command = record.command;
                stored.ids.insert(command.id.clone());
                let lane = lanes.iter().position(|lane| *lane == command.lane_id);
                match lane.filter(|_| TYPES.contains(&command.command_type.as_str())) {
                    Some(lane) => stored.resumed.push(Resumed {
                        id: command.id,
                        lane,
                        kind: command.command_type,
                        expect: expectation(record.options.metadata.get(EXPECT)),
                    }),
                    None => stored.unclaimed += 1,
                }
            }
            from = page.next;
            if from.is_none() {
                return Ok(stored);
            }
        }
    }
}

fn expectation(value: Option<&Value>) -> Status {
    let words = [
        Status::Completed,
        Status::Failed,
        Status::Timeout,
        Status::Expired,
    ];
    let given = value.and_then(Value::as_str);
    let known = words.into_iter().find(|it| given == Some(it.word()));
    known.unwrap_or(Status::Completed)
}

/// What is known of the attempts of resumed commands, by id.
#[derive(Debug, Default)]
pub(crate) struct Histories(Mutex<HashMap<String, History>>);

impl Histories {
    pub(crate) fn take(&self, id: &str) -> History {
        self.lock().remove(id).unwrap_or_default()
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut History)) {
        change(self.lock().entry(id.to_owned()).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, History>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the resumed commands of a type.
pub(crate) struct Builtin {
    pub(crate) kind: &'static str,
    pub(crate) shared: Arc<Shared>,
    pub(crate) lanes: Arc<[String]>,
}

#[async_trait]
impl Handler for Builtin {
    async fn handle(&self, payload: Value, context: CommandContext) -> Result<Value> {
        let payload = Payload::parse(self.kind, payload).map_err(LaneError::unrecoverable)?;
        let lane = self.lanes.iter().position(|it| it == context.lane_id());
        let mut attempt = Attempt::begin(self, &context, lane, &payload);
        let result = match payload {
            Payload::Echo(value) => Ok(value),
            Payload::Exec(spec) => {
                let leave = |evidence| {
                    let histories = &self.shared.histories;
                    histories.change(&context.id(), |it| it.evidence = Some(evidence));
                };
                let result = exec::run(&spec, &context, &self.shared.kill, &leave).await;
                self.shared.await_end(&result, &context).await;
                result
            }
        };
        attempt.error = result.as_ref().err().map(ToString::to_string);
        attempt.has_ended = true;
        result
    }
}

/// Keeps board and history right even when the attempt's future is dropped.
struct Attempt<'a> {
    builtin: &'a Builtin,
    context: &'a CommandContext,
    lane: Option<usize>,
    began: Instant,
    has_ended: bool,
    error: Option<String>,
}

impl<'a> Attempt<'a> {
    fn begin(
        builtin: &'a Builtin,
        context: &'a CommandContext,
        lane: Option<usize>,
        payload: &Payload,
    ) -> Self {
        let number = context.attempt();
        let mut is_retry = false;
        builtin.shared.histories.change(&context.id(), |history| {
            // Attempts of the earlier run are not of this one.
            is_retry = history.attempts > 0 && number > history.attempts;
            history.attempts = number;
            history.evidence = None;
        });
        if let Some(lane) = lane {
            let board = &builtin.shared.board;
            board.begin_stored(lane, is_retry, &payload.describe());
        }
        Self {
            builtin,
            context,
            lane,
            began: Instant::now(),
            has_ended: false,
            error: None,
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let shared = &self.builtin.shared;
        let is_shutdown = self.context.stop_reason() == Some(StopReason::Shutdown);
        let failed = !self.has_ended || self.error.is_some();
        shared.histories.change(&self.context.id(), |history| {
            history.stopped = failed && (is_shutdown || shared.kill.is_cancelled());
            history.ran += self.began.elapsed();
            history.last_error = self.error.take();
        });
        if let Some(lane) = self.lane {
            shared.board.end(lane);
        }
    }
}
