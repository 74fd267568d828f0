//! Plays one scenario against a real queue.

use std::collections::BTreeMap;
use std::time::Duration;

use a3s_lane::event::EventPayload;
use a3s_lane::testing::ScriptedCommand;
use a3s_lane::{
    EventEmitter, EventStream, JsonCommand, LaneConfig, LaneEvent, QueueManager,
    QueueManagerBuilder, QueueStats, Result, RetryPolicy,
};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::table::{Await, Drain, Echo, Events, Lane, LaneStats, Scenario, Stats, Step, Submit};

/// How long anything may take before the scenario has failed.
const LIMIT: Duration = Duration::from_secs(30);

/// Plays `scenario`, or says what was different.
pub(crate) async fn play(scenario: Scenario) -> std::result::Result<(), String> {
    let manager = build(&scenario).await?;
    let all = record(manager.subscribe());
    let chosen = record(match scenario.events.keys.clone() {
        Some(keys) => manager.subscribe_filtered(move |event| keys.contains(&event.key)),
        None => manager.subscribe(),
    });
    let mut player = Player {
        manager,
        results: BTreeMap::new(),
    };
    for (number, step) in scenario.steps.iter().enumerate() {
        player
            .step(step)
            .await
            .map_err(|text| format!("step {} ({step:?}): {text}", number + 1))?;
    }
    player.manager.start().await.map_err(|e| e.to_string())?;
    player.manager.shutdown().await;
    let ends = scenario
        .steps
        .iter()
        .any(|step| matches!(step, Step::Shutdown(_)));
    let told = |events: Vec<LaneEvent>| -> Vec<LaneEvent> {
        let wanted = |event: &LaneEvent| ends || !event.key.starts_with("queue.shutdown.");
        events.into_iter().filter(wanted).collect()
    };
    let (all, chosen) = (told(finish(all).await?), told(finish(chosen).await?));
    check_events(&scenario.events, &all, &chosen)
}

async fn build(scenario: &Scenario) -> std::result::Result<QueueManager, String> {
    let mut builder = QueueManagerBuilder::new(EventEmitter::new(100));
    builder = match &scenario.lanes {
        None => builder.with_default_lanes(),
        Some(lanes) => lanes.iter().fold(builder, |builder, lane| {
            builder.with_lane(&lane.id, config(lane), lane.priority)
        }),
    };
    if let Some(size) = scenario.dlq_size {
        builder = builder.with_dlq(size);
    }
    builder.build().await.map_err(|error| error.to_string())
}

fn config(lane: &Lane) -> LaneConfig {
    let mut config = LaneConfig::new(lane.min, lane.max);
    config.default_timeout = lane.timeout_ms.map(Duration::from_millis);
    config.pressure_threshold = lane.pressure_threshold;
    if let Some(retry) = &lane.retry {
        config.retry_policy = RetryPolicy {
            max_retries: retry.max_retries,
            initial_delay: Duration::from_millis(retry.initial_delay_ms),
            max_delay: Duration::from_millis(retry.max_delay_ms),
            multiplier: retry.multiplier,
        };
    }
    config
}

struct Player {
    manager: QueueManager,
    results: BTreeMap<String, oneshot::Receiver<Result<Value>>>,
}

impl Player {
    async fn step(&mut self, step: &Step) -> std::result::Result<(), String> {
        match step {
            Step::Start(_) => self.manager.start().await.map_err(|e| e.to_string()),
            Step::Submit(submit) => self.submit(submit).await,
            Step::Echo(echo) => self.echo(echo).await,
            Step::Await(expected) => self.result(expected).await,
            Step::Shutdown(_) => {
                self.manager.shutdown().await;
                Ok(())
            }
            Step::Drain(Drain { timeout_ms, error }) => {
                let timeout = Duration::from_millis(*timeout_ms);
                let drained = self.manager.drain(timeout).await;
                expect(
                    drained.map(|()| Value::Null),
                    &Value::Null,
                    error.as_deref(),
                )
            }
            Step::Stats(expected) => self.stats(expected).await,
        }
    }

    async fn submit(&mut self, submit: &Submit) -> std::result::Result<(), String> {
        if self.results.contains_key(&submit.name) {
            return Err("another command has this name".to_owned());
        }
        let command = ScriptedCommand::new(&submit.name, submit.script.clone());
        let submitted = self.manager.submit(&submit.lane, Box::new(command)).await;
        match (submitted, &submit.error) {
            (Ok(receiver), None) => {
                self.results.insert(submit.name.clone(), receiver);
                Ok(())
            }
            (Ok(_), Some(_)) => Err("was accepted".to_owned()),
            (Err(error), expected) => expect(Err(error), &Value::Null, expected.as_deref()),
        }
    }

    async fn echo(&mut self, echo: &Echo) -> std::result::Result<(), String> {
        let command = JsonCommand::new(&echo.command_type, echo.payload.clone());
        let result = match self.manager.submit(&echo.lane, Box::new(command)).await {
            Ok(receiver) => receive(receiver).await?,
            Err(error) => Err(error),
        };
        expect(result, &echo.payload, echo.error.as_deref())
    }

    async fn result(&mut self, expected: &Await) -> std::result::Result<(), String> {
        let receiver = self.results.remove(&expected.name);
        let result = receive(receiver.ok_or("nothing of this name was submitted")?).await?;
        match (&expected.ok, &expected.error) {
            (Some(ok), None) => expect(result, ok, None),
            (None, Some(error)) => expect(result, &Value::Null, Some(error)),
            _ => Err("needs either `ok` or `error`".to_owned()),
        }
    }

    async fn stats(&self, expected: &Stats) -> std::result::Result<(), String> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let stats = self.manager.stats().await.map_err(|e| e.to_string())?;
            if holds(&stats, expected) {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                return Err(format!("the figures are {stats:?}"));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn receive(
    receiver: oneshot::Receiver<Result<Value>>,
) -> std::result::Result<Result<Value>, String> {
    let result = tokio::time::timeout(LIMIT, receiver).await;
    result
        .map_err(|_| "no result in 30 s".to_owned())?
        .map_err(|_| "the receiver was never resolved".to_owned())
}

fn expect(
    got: Result<Value>,
    value: &Value,
    error: Option<&str>,
) -> std::result::Result<(), String> {
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

async fn finish(events: JoinHandle<Vec<LaneEvent>>) -> std::result::Result<Vec<LaneEvent>, String> {
    let events = tokio::time::timeout(LIMIT, events).await;
    events
        .map_err(|_| "the event stream did not end in 30 s".to_owned())?
        .map_err(|error| error.to_string())
}

/// Knows commands by their names.
struct Naming(BTreeMap<String, String>);

impl Naming {
    fn of(events: &[LaneEvent]) -> Self {
        let known = events.iter().filter_map(|event| {
            let id = field(event, "command_id")?;
            Some((id.to_owned(), field(event, "command_type")?.to_owned()))
        });
        Self(known.collect())
    }

    fn command(&self, event: &LaneEvent) -> Option<&str> {
        self.0.get(field(event, "command_id")?).map(String::as_str)
    }

    fn name(&self, event: &LaneEvent) -> String {
        match self.command(event).or(field(event, "lane_id")) {
            Some(subject) => format!("{} {subject}", kind(event)),
            None => kind(event).to_owned(),
        }
    }
}

fn field<'a>(event: &'a LaneEvent, name: &str) -> Option<&'a str> {
    match &event.payload {
        EventPayload::Map(map) => map.get(name)?.as_str(),
        _ => None,
    }
}

fn kind(event: &LaneEvent) -> &str {
    let key = event.key.as_str();
    let short = key
        .strip_prefix("queue.command.")
        .or(key.strip_prefix("queue."));
    short.unwrap_or(key)
}

fn check_events(
    expected: &Events,
    all: &[LaneEvent],
    chosen: &[LaneEvent],
) -> std::result::Result<(), String> {
    let naming = Naming::of(all);
    let got: Vec<String> = chosen.iter().map(|event| naming.name(event)).collect();
    if expected.order.as_ref().is_some_and(|order| *order != got) {
        return Err(format!("the events are {got:?}"));
    }
    for (name, kinds) in &expected.each {
        let own = chosen
            .iter()
            .filter(|event| naming.command(event) == Some(name));
        let got: Vec<&str> = own.map(kind).collect();
        if got != *kinds {
            return Err(format!("the events of {name} are {got:?}"));
        }
    }
    let most = most_active(all);
    for (lane, limit) in &expected.max_active {
        let got = most.get(lane.as_str()).copied().unwrap_or(0);
        if got != *limit {
            return Err(format!(
                "lane {lane} ran at most {got} at once, not {limit}"
            ));
        }
    }
    Ok(())
}

/// How many commands of each lane ran at once at most.
fn most_active(events: &[LaneEvent]) -> BTreeMap<&str, usize> {
    let mut active: BTreeMap<&str, usize> = BTreeMap::new();
    let mut most = BTreeMap::new();
    for event in events {
        let Some(lane) = field(event, "lane_id") else {
            continue;
        };
        let active = active.entry(lane).or_default();
        match kind(event) {
            "started" => *active += 1,
            "completed" | "failed" | "timeout" | "retry" => *active -= 1,
            _ => {}
        }
        let most = most.entry(lane).or_default();
        *most = (*active).max(*most);
    }
    most
}
