//! Shows what the lanes themselves report.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use a3s_lane::event::events;
use a3s_lane::{EventPayload, EventStream, LaneEvent, QueueManager};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::job::Shared;

/// How long the last events may take once the queue is gone.
const LAST_EVENTS: Duration = Duration::from_secs(2);
/// The key of the synthetic event that tells how many events were lost.
const LAGGED: &str = "queue.events.lagged";

/// Follows the events that are to be shown, if any.
pub(crate) struct Observer(Option<JoinHandle<()>>);

/// Subscribes before the lanes start.
pub(crate) fn spawn(manager: &QueueManager, config: &Config, shared: &Arc<Shared>) -> Observer {
    let is_verbose = shared.progress.is_verbose();
    let has_thresholds = config
        .lanes
        .iter()
        .any(|lane| lane.config.pressure_threshold.is_some());
    if !is_verbose && !has_thresholds {
        return Observer(None);
    }
    let stream = manager.subscribe_filtered(move |event| {
        let shown_always = [events::QUEUE_LANE_PRESSURE, events::QUEUE_LANE_IDLE, LAGGED];
        shown_always.contains(&event.key.as_str())
            || (is_verbose && event.key == events::QUEUE_COMMAND_STARTED)
    });
    Observer(Some(tokio::spawn(follow(stream, Arc::clone(shared)))))
}

impl Observer {
    /// Waits until the last event of a queue that was shut down or dropped is shown.
    pub(crate) async fn finish(self) {
        if let Some(task) = self.0 {
            let stop = task.abort_handle();
            if tokio::time::timeout(LAST_EVENTS, task).await.is_err() {
                stop.abort();
            }
        }
    }
}

async fn follow(mut stream: EventStream, shared: Arc<Shared>) {
    while let Some(event) = stream.recv().await {
        if let Some(text) = describe(&event) {
            shared.progress.note(&text);
        }
    }
}

fn describe(event: &LaneEvent) -> Option<String> {
    let EventPayload::Map(fields) = &event.payload else {
        return None;
    };
    let lane = text(fields, "lane_id");
    match event.key.as_str() {
        events::QUEUE_COMMAND_STARTED => Some(format!(
            "{:<9} {lane}  {}",
            "started",
            text(fields, "command_type")
        )),
        events::QUEUE_LANE_PRESSURE => Some(format!(
            "{:<9} {lane}  has reached its pressure threshold",
            "pressure"
        )),
        events::QUEUE_LANE_IDLE => Some(format!(
            "{:<9} {lane}  has nothing waiting any more",
            "relief"
        )),
        LAGGED => Some(format!(
            "{:<9} {} events were not shown",
            "behind",
            text(fields, "missed")
        )),
        _ => None,
    }
}

fn text(fields: &HashMap<String, serde_json::Value>, name: &str) -> String {
    match fields.get(name) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}
