//! Stored commands: submit and complete.
//!
//! 1, 64 and 512 tasks each submit a no-op command and wait for its result, again and again; the lane has a slot for each. The
//! clock runs from the first submit to the last result. Everybody writes to the same file system: that of the directory for
//! temporary files (`TMPDIR`). The floor appends two records per command to a file, one after the other, in groups of whoever
//! waits, with one fsync per group where ours has one. The published crate has no fsync.
//!
//! The last line is what a storage adds to a start: a note that an attempt begins and one that it was stopped, by a single task.
//! The floor writes 32 bytes into a file twice.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use a3s_lane::storage::StoredCommand;
use a3s_lane::{LocalStorage, Storage};
use chrono::Utc;
use serde_json::Value;

use crate::contestants::jobs::Noop;
use crate::contestants::names::{FLOOR, OURS, PUBLISHED};
use crate::contestants::{Append, Contestant, Ours, Published, Setup, Stored};
use crate::harness::contest::Contest;
use crate::harness::line::{Budget, Line, Unit};
use crate::harness::options::Options;

use super::drive::{fresh_single_thread, on_a_worker};

const LEAST: usize = 64;

pub(crate) fn run(options: &Options) -> Vec<Line> {
    let mut lines = Vec::new();
    for fsync in [true, false] {
        for (submitters, commands, least) in
            [(1, 1_000, 0.0), (64, 20_000, 0.8), (512, 50_000, 0.35)]
        {
            let commands = options.scale(commands);
            let how = if fsync { "full" } else { "relaxed" };
            let label = format!("{submitters} submitters, {how}");
            let mut contest = Contest::new(format!("durable: {label}"), options);
            contest.enter_slow(OURS, commands, LEAST, |n| {
                queue::<Ours>(submitters, n, fsync)
            });
            contest.enter_slow(FLOOR, commands, LEAST, |n| append(submitters, n, fsync));
            contest.enter_slow(PUBLISHED, commands, LEAST, |n| {
                queue::<Published>(submitters, n, fsync)
            });
            let outcome = contest.run();
            lines.push(Line {
                row: "durable",
                label,
                unit: Unit::PerSecond,
                ours: outcome.series(OURS, 0),
                floor: Some(outcome.series(FLOOR, 0)),
                peer: Some(outcome.series(PUBLISHED, 0)),
                budget: match (fsync, least) {
                    (true, least) if least > 0.0 => Budget::FloorAtLeast(least),
                    _ => Budget::None,
                },
            });
        }
    }
    lines.push(starts(options));
    lines
}

fn starts(options: &Options) -> Line {
    let notes = options.scale(200_000);
    let mut contest = Contest::new("durable: starts", options);
    contest.enter(OURS, notes, |n| {
        let place = tempfile::tempdir().expect("a place for files");
        fresh_single_thread().block_on(async {
            let storage = LocalStorage::new(place.path().to_owned()).await;
            let storage: Arc<dyn Storage> = Arc::new(storage.expect("a directory of its own"));
            let command = StoredCommand {
                id: "01890a5d-ac96-774b-bcce-000000000000".into(),
                command_type: "noop".into(),
                lane_id: "lane-0".into(),
                payload: Value::Null,
                retry_count: 0,
                created_at: Utc::now(),
                last_attempt_at: None,
            };
            let id = command.id.clone();
            storage.save_command(command).await.expect("there is space");
            let begin = Instant::now();
            for _ in 0..n {
                storage.start_command(&id, 1).await.expect("noted");
                storage.requeue_command(&id).await.expect("noted");
            }
            vec![begin.elapsed().as_nanos() as f64 / n as f64]
        })
    });
    contest.enter(FLOOR, notes, |n| {
        let file = tempfile::tempfile().expect("a file");
        let begin = Instant::now();
        for number in 0..2 * n {
            file.write_all_at(&[number as u8; 32], 0)
                .expect("there is space");
        }
        vec![begin.elapsed().as_nanos() as f64 / n as f64]
    });
    let outcome = contest.run();
    Line {
        row: "durable",
        label: "a start and its end are noted".into(),
        unit: Unit::Nanoseconds,
        ours: outcome.series(OURS, 0),
        floor: Some(outcome.series(FLOOR, 0)),
        peer: None,
        budget: Budget::None,
    }
}

/// Commands per second of tasks that each do their share, one after the other.
async fn shares<F: Future<Output = ()> + Send + 'static>(
    submitters: usize,
    commands: usize,
    share: impl Fn(usize) -> F,
) -> Vec<f64> {
    let begin = Instant::now();
    let tasks = (0..submitters).map(|index| {
        let own = commands / submitters + usize::from(index < commands % submitters);
        tokio::spawn(share(own))
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("no submitter panics");
    }
    vec![commands as f64 / begin.elapsed().as_secs_f64()]
}

fn queue<C: Contestant>(submitters: usize, commands: usize, fsync: bool) -> Vec<f64> {
    let place = tempfile::tempdir().expect("a place for files");
    let mut setup = Setup::one_lane(submitters);
    setup.storage = Some(Stored {
        directory: place.path().join("store"),
        fsync,
    });
    on_a_worker(async move {
        let contestant = Arc::new(C::build(&setup).await);
        let lane: Arc<str> = setup.ids()[0].as_str().into();
        shares(submitters, commands, |own| {
            let (contestant, lane) = (Arc::clone(&contestant), Arc::clone(&lane));
            async move {
                for number in 0..own {
                    let reply = contestant.submit(&lane, Noop(number as u64)).await;
                    let value = reply.await.expect("it settles").expect("it succeeds");
                    assert_eq!(value, number as u64);
                }
            }
        })
        .await
    })
}

fn append(submitters: usize, commands: usize, fsync: bool) -> Vec<f64> {
    let file = tempfile::tempfile().expect("a file");
    on_a_worker(async move {
        let append = Arc::new(Append::to(file, fsync));
        shares(submitters, commands, |own| {
            let append = Arc::clone(&append);
            async move {
                for _ in 0..own {
                    append.append().await;
                    append.append().await;
                }
            }
        })
        .await
    })
}
