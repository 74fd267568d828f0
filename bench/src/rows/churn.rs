//! How large the files of a storage become when very many commands go through, a thousand of them pending at any time.
//!
//! A day of a busy queue in a minute or two: commands are stored and settled a hundred at a time, the oldest first. After each of these
//! the sizes of all files are added up; the number is the largest sum. `--churn 10000000` plays ten million. One round: a
//! file's size is no matter of luck.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;

use a3s_lane::storage::{CommandRecord, Retention, Settlement, StoredCommand, StoredOutcome};
use a3s_lane::{Durability, LocalStorage, Storage};
use chrono::Utc;
use serde_json::json;

use crate::contestants::names::OURS;
use crate::harness::contest::Contest;
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;

use super::drive::fresh_single_thread;

const DEPTH: usize = 1000;
const BATCH: usize = 100;
const BUDGET_BYTES: f64 = (64 << 20) as f64;

pub(crate) fn run(options: &Options) -> Vec<Line> {
    let commands = options.scale(options.churn);
    let mut once = options.clone();
    once.rounds = 1;
    let mut lines = Vec::new();
    for keeps in [false, true] {
        let what = if keeps {
            "with results and history"
        } else {
            "bare"
        };
        let mut contest = Contest::new(format!("churn: {commands} commands, {what}"), &once);
        contest.enter(OURS, commands, |n| {
            fresh_single_thread().block_on(churn(n, keeps))
        });
        let outcome = contest.run();
        for (index, label, unit, budget) in [
            (0, "largest size", Unit::Bytes, Budget::AtMost(BUDGET_BYTES)),
            (1, "commands", Unit::PerSecond, Budget::None),
        ] {
            lines.push(Line {
                row: "churn",
                label: format!("{label}, {commands} through a depth of {DEPTH}, {what}"),
                unit,
                ours: outcome.series(OURS, index),
                floor: None,
                peer: None,
                budget,
            });
        }
    }
    lines
}

async fn churn(commands: usize, keeps: bool) -> Vec<f64> {
    let place = tempfile::tempdir().expect("a place for files");
    let storage = LocalStorage::new(place.path().to_owned()).await;
    let mut storage = storage
        .expect("a directory of its own")
        .with_durability(Durability::Relaxed);
    if keeps {
        let thousand = Retention::new().with_max_count(DEPTH);
        storage = storage.with_results(thousand).with_history(thousand);
    }
    let begin = Instant::now();
    let mut pending = VecDeque::new();
    let mut largest = 0;
    for batch in (0..commands).step_by(BATCH) {
        let ids: Vec<_> = (batch..batch + BATCH)
            .map(|number| format!("01890a5d-ac96-774b-bcce-{number:012}"))
            .collect();
        let records = ids.iter().map(|id| {
            CommandRecord::from(StoredCommand {
                id: id.clone(),
                command_type: "mail".into(),
                lane_id: "lane-0".into(),
                payload: json!({"to": "somebody@example.com", "text": "x".repeat(100)}),
                retry_count: 0,
                created_at: Utc::now(),
                last_attempt_at: None,
            })
        });
        storage
            .save_commands(records.collect())
            .await
            .expect("there is space");
        pending.extend(ids);
        if pending.len() > DEPTH {
            let settled = pending.drain(..BATCH).map(|id| {
                Settlement::new(
                    id,
                    "mail",
                    "lane-0",
                    StoredOutcome::Completed(json!({"sent": true})),
                )
            });
            storage
                .settle_commands(settled.collect())
                .await
                .expect("there is space");
        }
        largest = largest.max(size(place.path()));
    }
    vec![
        largest as f64,
        commands as f64 / begin.elapsed().as_secs_f64(),
    ]
}

fn size(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).expect("readable");
    let sizes = files.map(|file| {
        file.and_then(|file| file.metadata())
            .map_or(0, |data| data.len())
    });
    sizes.sum()
}
