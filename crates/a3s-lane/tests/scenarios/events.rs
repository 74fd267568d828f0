//! Compares what subscribers saw with what a scenario expects.

use std::collections::{BTreeMap, BTreeSet};

use a3s_lane::LaneEvent;
use a3s_lane::event::EventPayload;

use crate::table::Events;

/// Knows commands by their ids.
struct Naming(BTreeMap<String, String>);

impl Naming {
    /// `ids` are those of the handles; events tell the others.
    fn new(mut ids: BTreeMap<String, String>, events: &[LaneEvent]) -> Self {
        ids.extend(events.iter().filter_map(|event| {
            let id = field(event, "command_id")?;
            Some((id.to_owned(), field(event, "command_type")?.to_owned()))
        }));
        Self(ids)
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

pub(crate) fn check_events(
    expected: &Events,
    ids: BTreeMap<String, String>,
    all: &[LaneEvent],
    chosen: &[LaneEvent],
) -> Result<(), String> {
    let naming = Naming::new(ids, all);
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
    // A command that was cancelled while it waited had no slot.
    let mut running = BTreeSet::new();
    for event in events {
        let Some(lane) = field(event, "lane_id") else {
            continue;
        };
        let active = active.entry(lane).or_default();
        let id = field(event, "command_id");
        match kind(event) {
            "started" => *active += usize::from(running.insert(id)),
            "completed" | "failed" | "timeout" | "retry" | "cancelled" | "preempted" => {
                *active -= usize::from(running.remove(&id));
            }
            _ => {}
        }
        let most = most.entry(lane).or_default();
        *most = (*active).max(*most);
    }
    most
}
