//! Plays one scenario against a real queue.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use a3s_lane::testing::{ManualClock, SubmissionLog};
use a3s_lane::{
    Command, CommandHandle, EventStream, JsonCommand, LaneEvent, QueueManager, QueueStats, Refused,
    Result, SubmitOptions, testing,
};
use futures::FutureExt;
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::bodies::{Bodies, Written};
use crate::events::check_events;
use crate::settings::{Built, build, config, lane_options, limiter, submit_options};
use crate::table::{
    Await, Cancel, Chunks, Drain, DrainNow, Echo, Explain, LaneStats, Progress, Reason, Scenario,
    ShutdownWithin, Stats, Status, Step, Submit, SubmitMany, Target,
};

/// How long anything may take before the scenario has failed.
const LIMIT: Duration = Duration::from_secs(30);

/// How long something that a step expects may take to come true.
const SOON: Duration = Duration::from_secs(10);

/// What a step, or the scenario, says about itself when it fails.
type Outcome<T = ()> = std::result::Result<T, String>;

/// Plays `scenario` with bodies that are written this way, or says what was different.
pub(crate) async fn play(scenario: Scenario, written: Written) -> Outcome {
    let built = build(&scenario).await.map_err(|error| error.to_string())?;
    let Built {
        manager,
        clock,
        log,
    } = built;
    let all = record(manager.subscribe());
    let chosen = record(match scenario.events.keys.clone() {
        Some(keys) => manager.subscribe_filtered(move |event| keys.contains(&event.key)),
        None => manager.subscribe(),
    });
    let mut player = Player {
        bodies: Bodies::new(written),
        manager,
        clock,
        log,
        submitted: BTreeMap::new(),
        ids: BTreeMap::new(),
    };
    for (number, step) in scenario.steps.iter().enumerate() {
        player
            .step(step)
            .await
            .map_err(|text| format!("step {} ({step:?}): {text}", number + 1))?;
    }
    player.manager.start().await.map_err(|e| e.to_string())?;
    player.manager.shutdown().await;
    let ends = |step: &Step| matches!(step, Step::Shutdown(_) | Step::ShutdownWithin(_));
    let ends = scenario.steps.iter().any(ends);
    let told = |events: Vec<LaneEvent>| -> Vec<LaneEvent> {
        let wanted = |event: &LaneEvent| ends || !event.key.starts_with("queue.shutdown.");
        events.into_iter().filter(wanted).collect()
    };
    let (all, chosen) = (told(finish(all).await?), told(finish(chosen).await?));
    check_events(&scenario.events, player.ids, &all, &chosen)
}

/// How the player waits for a command.
enum Submitted {
    Receiver(Option<oneshot::Receiver<Result<Value>>>),
    Handle(CommandHandle),
}

struct Player {
    bodies: Bodies,
    manager: QueueManager,
    clock: Option<ManualClock>,
    log: SubmissionLog,
    /// By name.
    submitted: BTreeMap<String, Submitted>,
    /// The names of commands by their ids.
    ids: BTreeMap<String, String>,
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

impl Player {
    async fn step(&mut self, step: &Step) -> Outcome {
        let manager = &self.manager;
        match step {
            Step::Start(_) => manager.start().await.map_err(text),
            Step::Submit(submit) => self.submit(submit).await,
            Step::SubmitMany(many) => self.submit_many(many).await,
            Step::Echo(echo) => self.echo(echo).await,
            Step::Await(expected) => self.result(expected).await,
            Step::Cancel(cancel) => self.cancel(cancel),
            Step::Pause(Target::Lane(id)) => manager.pause_lane(id).map_err(text),
            Step::Resume(Target::Lane(id)) => manager.resume_lane(id).map_err(text),
            Step::Pause(Target::Key(key)) => {
                manager.pause_key(key);
                Ok(())
            }
            Step::Resume(Target::Key(key)) => {
                manager.resume_key(key);
                Ok(())
            }
            Step::SetLane(set) => {
                let lane = &set.lane;
                let (config, options) = (config(lane), lane_options(lane));
                let done = manager.set_lane(&lane.id, config, options, lane.priority);
                done_or(done, set.error.as_deref())
            }
            Step::RemoveLane(remove) => {
                done_or(manager.remove_lane(&remove.id), remove.error.as_deref())
            }
            Step::SetMaxConcurrency(set) => {
                let done = manager.set_max_concurrency(set.total);
                done_or(done, set.error.as_deref())
            }
            Step::SetLimiter(set) => {
                let done = manager.set_limiter(&set.name, limiter(&set.limiter));
                done_or(done, set.error.as_deref())
            }
            Step::Explain(expected) => self.explain(expected).await,
            Step::Status(expected) => self.status(expected).await,
            Step::Chunks(expected) => self.chunks(expected).await,
            Step::Progress(expected) => self.progress(expected).await,
            Step::Snapshot(expected) => self.snapshot(expected).await,
            Step::Submitted(expected) => self.was_submitted(expected),
            Step::SleepMs(ms) => {
                tokio::time::sleep(Duration::from_millis(*ms)).await;
                Ok(())
            }
            Step::AdvanceMs(ms) => {
                let clock = self.clock.as_ref().ok_or("the clock is not manual")?;
                clock.advance(Duration::from_millis(*ms));
                Ok(())
            }
            Step::DrainNow(DrainNow { left }) => {
                same(&within(testing::drain_now(manager)).await?, left)
            }
            Step::Shutdown(_) => {
                manager.shutdown().await;
                Ok(())
            }
            Step::ShutdownWithin(expected) => self.shutdown_within(expected).await,
            Step::Drain(Drain { timeout_ms, error }) => {
                let drained = manager.drain(Duration::from_millis(*timeout_ms)).await;
                done_or(drained, error.as_deref())
            }
            Step::Stats(expected) => self.stats(expected).await,
        }
    }

    fn scripted(&self, name: &str, script: &[Vec<testing::Step>]) -> Box<dyn Command> {
        self.bodies.command(&self.manager, name, script)
    }

    fn check_name(&self, name: &str) -> Outcome {
        match self.submitted.contains_key(name) {
            true => Err(format!("another command has the name {name}")),
            false => Ok(()),
        }
    }

    async fn submit(&mut self, submit: &Submit) -> Outcome {
        self.check_name(&submit.name)?;
        let command = self.scripted(&submit.name, &submit.script);
        if let Some(given) = &submit.options {
            let options = submit_options(given);
            let answer = within(self.manager.submit_with(&submit.lane, command, options)).await?;
            return self.keep(
                &submit.name,
                answer,
                given.id.as_deref(),
                submit.joins.as_deref(),
                submit.error.as_deref(),
            );
        }
        if submit.joins.is_some() {
            return Err("`joins` needs `options`".to_owned());
        }
        let submitted = within(self.manager.submit(&submit.lane, command)).await?;
        match (submitted, &submit.error) {
            (Ok(receiver), None) => {
                let receiver = Submitted::Receiver(Some(receiver));
                self.submitted.insert(submit.name.clone(), receiver);
                Ok(())
            }
            (Ok(_), Some(_)) => Err("was accepted".to_owned()),
            (Err(error), expected) => expect(Err(error), &Value::Null, expected.as_deref()),
        }
    }

    async fn submit_many(&mut self, many: &SubmitMany) -> Outcome {
        let commands: Vec<(Box<dyn Command>, SubmitOptions)> = many
            .commands
            .iter()
            .map(|one| {
                (
                    self.scripted(&one.name, &one.script),
                    submit_options(&one.options),
                )
            })
            .collect();
        let answers = within(self.manager.submit_many(&many.lane, commands)).await?;
        if answers.len() != many.commands.len() {
            return Err(format!("got {} answers", answers.len()));
        }
        for (one, answer) in many.commands.iter().zip(answers) {
            self.check_name(&one.name)?;
            self.keep(
                &one.name,
                answer,
                one.options.id.as_deref(),
                one.joins.as_deref(),
                one.error.as_deref(),
            )
            .map_err(|text| format!("{}: {text}", one.name))?;
        }
        Ok(())
    }

    /// Takes the answer to a submission with options.
    fn keep(
        &mut self,
        name: &str,
        answer: std::result::Result<CommandHandle, Refused>,
        id: Option<&str>,
        joins: Option<&str>,
        error: Option<&str>,
    ) -> Outcome {
        let handle = match (answer, error) {
            (Ok(handle), None) => handle,
            (Ok(_), Some(_)) => return Err("was accepted".to_owned()),
            (Err(refused), error) => return expect(Err(refused.into()), &Value::Null, error),
        };
        let owner = self.ids.get(handle.id()).map(String::as_str);
        if owner != joins {
            return Err(format!("the handle is that of {owner:?}"));
        }
        if owner.is_none() && id.is_some_and(|id| id != handle.id()) {
            return Err(format!("its id is {}", handle.id()));
        }
        if owner.is_none() {
            self.ids.insert(handle.id().to_owned(), name.to_owned());
        }
        let handle = Submitted::Handle(handle);
        self.submitted.insert(name.to_owned(), handle);
        Ok(())
    }

    async fn echo(&mut self, echo: &Echo) -> Outcome {
        let command = JsonCommand::new(&echo.command_type, echo.payload.clone());
        let result = match self.manager.submit(&echo.lane, Box::new(command)).await {
            Ok(receiver) => receive(receiver).await?,
            Err(error) => Err(error),
        };
        expect(result, &echo.payload, echo.error.as_deref())
    }

    async fn result(&mut self, expected: &Await) -> Outcome {
        let submitted = self.submitted.get_mut(&expected.name);
        let result = match submitted.ok_or("nothing of this name was submitted")? {
            Submitted::Handle(handle) => within(handle.result()).await?,
            Submitted::Receiver(receiver) => {
                let receiver = receiver.take().ok_or("it was awaited before")?;
                receive(receiver).await?
            }
        };
        match (&expected.ok, &expected.error) {
            (Some(ok), None) => expect(result, ok, None),
            (None, Some(error)) => expect(result, &Value::Null, Some(error)),
            _ => Err("needs either `ok` or `error`".to_owned()),
        }
    }

    fn handle(&self, name: &str) -> Outcome<&CommandHandle> {
        match self.submitted.get(name) {
            Some(Submitted::Handle(handle)) => Ok(handle),
            _ => Err("no command of this name was submitted with options".to_owned()),
        }
    }

    fn cancel(&self, cancel: &Cancel) -> Outcome {
        match cancel {
            Cancel {
                name: Some(name),
                found,
                lane: None,
                key: None,
                count: None,
            } => {
                let got = self.manager.cancel(self.handle(name)?.id());
                same(&got, &found.unwrap_or(true))
            }
            Cancel {
                name: None,
                found: None,
                lane: Some(lane),
                key: None,
                count: Some(count),
            } => same(&self.manager.cancel_lane(lane).map_err(text)?, count),
            Cancel {
                name: None,
                found: None,
                lane: None,
                key: Some(key),
                count: Some(count),
            } => same(&self.manager.cancel_key(key), count),
            _ => Err("needs `as`, or `lane` or `key` with `count`".to_owned()),
        }
    }

    async fn explain(&self, expected: &Explain) -> Outcome {
        let handle = self.handle(&expected.name)?;
        let expected = match (&expected.reasons, expected.none) {
            (Some(reasons), false) => Some(reasons),
            (None, true) => None,
            _ => return Err("needs either `reasons` or `none`".to_owned()),
        };
        soon(|| {
            let got = handle.explain();
            let got = got.map(|it| serde_json::to_value(it.reasons).expect("plain data"));
            match (&got, expected) {
                (Some(Value::Array(got)), Some(expected)) => same_reasons(got, expected),
                (None, None) => Ok(()),
                _ => Err(format!("got {got:?}")),
            }
        })
        .await
    }

    async fn snapshot(&self, expected: &Map<String, Value>) -> Outcome {
        let expected = Value::Object(expected.clone());
        soon(|| {
            let got = serde_json::to_value(self.manager.snapshot()).map_err(text)?;
            match contains(&got, &expected) {
                true => Ok(()),
                false => Err(format!("got {got}")),
            }
        })
        .await
    }

    fn was_submitted(&self, expected: &crate::table::Submitted) -> Outcome {
        let mut submitted = self.log.submitted().into_iter();
        let found = submitted.any(|it| {
            it.lane_id == expected.lane
                && it.command_type == expected.command_type
                && (expected.payload.is_none() || it.payload == expected.payload)
        });
        same(&found, &expected.found.unwrap_or(true))
    }

    async fn status(&self, expected: &Status) -> Outcome {
        let handle = self.handle(&expected.name)?;
        let look = || same(&handle.status().to_string(), &expected.is);
        match expected.now {
            true => look(),
            false => soon(look).await,
        }
    }

    async fn chunks(&self, expected: &Chunks) -> Outcome {
        let mut chunks = self.handle(&expected.name)?.chunks();
        let mut got = Vec::new();
        while let Some(chunk) = within(chunks.recv()).await? {
            got.push(chunk.value);
        }
        same(&got, &expected.are)
    }

    async fn progress(&self, expected: &Progress) -> Outcome {
        let handle = self.handle(&expected.name)?;
        soon(|| {
            let newest = handle.progress().recv().now_or_never().flatten();
            same(&newest.as_ref(), &Some(&expected.is))
        })
        .await
    }

    async fn shutdown_within(&self, expected: &ShutdownWithin) -> Outcome {
        let limit = Duration::from_millis(expected.timeout_ms);
        let report = within(self.manager.shutdown_within(limit)).await?;
        let names = |left: &[a3s_lane::Leftover]| -> Vec<String> {
            left.iter().map(|left| left.command_type.clone()).collect()
        };
        let mut stopped = names(&report.stopped);
        stopped.sort_unstable();
        let mut expected_stopped = expected.stopped.clone();
        expected_stopped.sort_unstable();
        same(&names(&report.pending), &expected.pending)?;
        same(&stopped, &expected_stopped)
    }

    async fn stats(&self, expected: &Stats) -> Outcome {
        soon(|| {
            let stats = self.manager.stats().now_or_never();
            let stats = stats.ok_or("stats never waits")?.map_err(text)?;
            match holds(&stats, expected) {
                true => Ok(()),
                false => Err(format!("the figures are {stats:?}")),
            }
        })
        .await
    }
}

/// Whether these are the reasons, and their fields have the values that are expected.
fn same_reasons(got: &[Value], expected: &[Reason]) -> Outcome {
    let name = |reason: &Value| reason["reason"].as_str().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = got.iter().map(name).collect();
    let mut expected_names = BTreeSet::new();
    for reason in expected {
        expected_names.insert(match reason {
            Reason::Name(reason) => reason.clone(),
            Reason::With { reason, fields } => {
                let fields = Value::Object(fields.clone());
                let mut same_name = got.iter().filter(|it| name(it) == *reason);
                if !same_name.any(|it| contains(it, &fields)) {
                    return Err(format!("got {got:?}"));
                }
                reason.clone()
            }
        });
    }
    same(&names, &expected_names)
}

/// Whether `got` has everything that is expected: all fields of an object, and as many items of a list.
fn contains(got: &Value, expected: &Value) -> bool {
    match (got, expected) {
        (Value::Object(got), Value::Object(expected)) => expected
            .iter()
            .all(|(name, value)| got.get(name).is_some_and(|got| contains(got, value))),
        (Value::Array(got), Value::Array(expected)) => {
            got.len() == expected.len()
                && got.iter().zip(expected).all(|(got, it)| contains(got, it))
        }
        _ => got == expected,
    }
}

/// Looks until it is true, or says what was different in the end.
async fn soon(mut look: impl FnMut() -> Outcome) -> Outcome {
    let deadline = Instant::now() + SOON;
    loop {
        let looked = look();
        if looked.is_ok() || Instant::now() > deadline {
            return looked;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn within<T>(work: impl Future<Output = T>) -> Outcome<T> {
    let done = tokio::time::timeout(LIMIT, work).await;
    done.map_err(|_| "not done in 30 s".to_owned())
}

async fn receive(receiver: oneshot::Receiver<Result<Value>>) -> Outcome<Result<Value>> {
    let result = within(receiver).await?;
    result.map_err(|_| "the receiver was never resolved".to_owned())
}

fn same<T: PartialEq + std::fmt::Debug>(got: &T, expected: &T) -> Outcome {
    match got == expected {
        true => Ok(()),
        false => Err(format!("got {got:?}")),
    }
}

fn done_or(got: Result<()>, error: Option<&str>) -> Outcome {
    expect(got.map(|()| Value::Null), &Value::Null, error)
}

fn expect(got: Result<Value>, value: &Value, error: Option<&str>) -> Outcome {
    match (got, error) {
        (Ok(got), None) if got == *value => Ok(()),
        (Err(got), Some(error)) if got.code() == error => Ok(()),
        (Ok(got), _) => Err(format!("the result is {got}")),
        (Err(got), _) => Err(format!("the error is {}: {got}", got.code())),
    }
}

fn holds(stats: &QueueStats, expected: &Stats) -> bool {
    let same = |got: usize, expected: Option<usize>| expected.is_none_or(|value| value == got);
    same(stats.total_pending, expected.total_pending)
        && same(stats.total_active, expected.total_active)
        && same(stats.dead_letter_count, expected.dead_letter_count)
        && expected.lanes.iter().all(|(id, lane)| {
            let LaneStats {
                pending,
                active,
                min,
                max,
            } = *lane;
            stats.lanes.get(id).is_some_and(|got| {
                same(got.pending, pending)
                    && same(got.active, active)
                    && same(got.min, min)
                    && same(got.max, max)
            })
        })
}

fn record(mut stream: EventStream) -> JoinHandle<Vec<LaneEvent>> {
    tokio::spawn(async move {
        let mut events = Vec::new();
        while let Some(event) = stream.recv().await {
            events.push(event);
        }
        events
    })
}

async fn finish(events: JoinHandle<Vec<LaneEvent>>) -> Outcome<Vec<LaneEvent>> {
    let events = tokio::time::timeout(LIMIT, events).await;
    events
        .map_err(|_| "the event stream did not end in 30 s".to_owned())?
        .map_err(|error| error.to_string())
}
