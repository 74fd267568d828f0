//! L23, L24, L26: what starts when, and in which order.

use std::sync::Arc;
use std::time::Duration;

use a3s_lane::LaneConfig;
use serde_json::Value;
use tokio::time::Instant;

use crate::support::{Gate, Log, command, manager_with, nothing, outcome, started, submit, within};

/// Gives every task a turn, many times over, without letting any time pass.
async fn let_others_run() {
    for _ in 0..2_000 {
        tokio::task::yield_now().await;
    }
}

/// a3s-lane 0.4 and 0.5 started one command per tick or wake-up.
#[tokio::test(start_paused = true)]
async fn l23_all_eligible_work_starts_at_once() {
    let manager = started(LaneConfig::new(1, 50)).await;
    let (gate, log) = (Gate::new(), Log::default());
    let start = Instant::now();
    let mut receivers = Vec::new();
    for _ in 0..60 {
        let (gate, log) = (gate.clone(), log.clone());
        let body = command("long", move |_| {
            let gate = gate.clone();
            log.push("started");
            async move {
                gate.pass().await;
                Ok(Value::Null)
            }
        });
        receivers.push(submit(&manager, "only", body).await);
    }
    let_others_run().await;
    assert_eq!(log.entries().len(), 50);
    let stats = manager.stats().await.expect("never fails");
    assert_eq!((stats.total_active, stats.total_pending), (50, 10));
    assert_eq!(start.elapsed(), Duration::ZERO, "no timer was needed");
    // Every slot that becomes free is filled at once, too.
    gate.let_through(7);
    let_others_run().await;
    let stats = manager.stats().await.expect("never fails");
    assert_eq!((stats.total_active, stats.total_pending), (50, 3));
    assert_eq!(start.elapsed(), Duration::ZERO);
    gate.open();
    for receiver in receivers {
        outcome(receiver).await.expect("it runs");
    }
}

/// The row "a lane of n filled with d-ms sleeps", in tokio's time: 200 at a time, no gaps.
#[tokio::test(start_paused = true)]
async fn l23_a_lane_is_as_fast_as_a_semaphore() {
    let manager = started(LaneConfig::new(1, 200)).await;
    let start = Instant::now();
    let mut receivers = Vec::new();
    for _ in 0..2_000 {
        let body = command("sleep", |_| async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(Value::Null)
        });
        receivers.push(submit(&manager, "only", body).await);
    }
    for receiver in receivers {
        outcome(receiver).await.expect("it sleeps");
    }
    // Ten rounds of 1 ms, which tokio's timer may round up to 2 ms.
    assert!(start.elapsed() <= Duration::from_millis(20));
}

/// More lanes than anything polls over; every submit and every finish must wake what it makes runnable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l24_no_wake_up_is_lost_over_1000_lanes() {
    let names: Vec<String> = (0..1_000).map(|lane| format!("lane {lane}")).collect();
    let lanes: Vec<(&str, LaneConfig, u8)> = names
        .iter()
        .enumerate()
        .map(|(lane, name)| (name.as_str(), LaneConfig::new(1, 1), (lane % 7) as u8))
        .collect();
    let manager = Arc::new(manager_with(&lanes).await);
    manager.start().await.expect("starts");
    let names = Arc::new(names);
    let submitters: Vec<_> = (0..4)
        .map(|_| {
            let (manager, names) = (Arc::clone(&manager), Arc::clone(&names));
            tokio::spawn(async move {
                let mut receivers = Vec::new();
                for name in names.iter() {
                    receivers.push(submit(&manager, name, nothing("a")).await);
                    receivers.push(submit(&manager, name, nothing("b")).await);
                }
                for receiver in receivers {
                    outcome(receiver).await.expect("it runs");
                }
            })
        })
        .collect();
    for submitter in submitters {
        submitter.await.expect("everything ran");
    }
}

/// From idle, one at a time: there is never a second event that could make up for a lost one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l24_an_idle_queue_wakes_for_every_single_command() {
    let manager = started(LaneConfig::new(1, 1)).await;
    for _ in 0..3_000 {
        let receiver = submit(&manager, "only", nothing("ping")).await;
        outcome(receiver).await.expect("it runs");
    }
}

/// With paused time a wake-up that only a timer makes up for would cost time.
#[tokio::test(start_paused = true)]
async fn l24_progress_needs_no_timer() {
    let lanes: Vec<(String, u8)> = (0..1_000).map(|n| (format!("lane {n}"), 0)).collect();
    let lanes: Vec<_> = lanes
        .iter()
        .map(|(name, priority)| (name.as_str(), LaneConfig::new(1, 1), *priority))
        .collect();
    let manager = manager_with(&lanes).await;
    manager.start().await.expect("starts");
    let start = Instant::now();
    let mut receivers = Vec::new();
    for _ in 0..3 {
        for (name, _, _) in &lanes {
            receivers.push(submit(&manager, name, nothing("t")).await);
        }
    }
    for receiver in receivers {
        outcome(receiver).await.expect("it runs");
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// The order in which the commands of `names` run, when all are there before the queue starts.
async fn order_of(lanes: &[(&str, LaneConfig, u8)], names: &[&str]) -> Vec<String> {
    let manager = manager_with(lanes).await;
    let log = Log::default();
    let mut receivers = Vec::new();
    for name in names {
        receivers.push(submit(&manager, &name[..1], log.command(name)).await);
    }
    manager.start().await.expect("starts");
    for receiver in receivers {
        outcome(receiver).await.expect("it runs");
    }
    log.entries()
}

/// 0.4 and 0.5 served equal lanes in the random order of a map.
#[tokio::test]
async fn l26_equal_lanes_take_turns_in_a_fixed_order() {
    let lane = |id| (id, LaneConfig::new(1, 1), 5);
    let lanes = [lane("c"), lane("a"), lane("b")];
    let names = ["a1", "a2", "a3", "b1", "b2", "b3", "c1", "c2", "c3"];
    let first = order_of(&lanes, &names).await;
    for round in first.chunks(3) {
        let mut served: Vec<&str> = round.iter().map(|name| &name[..1]).collect();
        served.sort_unstable();
        assert_eq!(
            served,
            ["a", "b", "c"],
            "each lane once per round: {first:?}"
        );
    }
    let turns = |round: &[String]| -> Vec<String> {
        round.iter().map(|name| name[..1].to_owned()).collect()
    };
    assert!(
        first
            .chunks(3)
            .all(|round| turns(round) == turns(&first[..3])),
        "always in the same order: {first:?}"
    );
    for _ in 0..20 {
        assert_eq!(order_of(&lanes, &names).await, first);
    }
}

#[tokio::test]
async fn l26_the_lane_served_longest_ago_goes_first() {
    let lane = |id| (id, LaneConfig::new(1, 1), 5);
    let manager = manager_with(&[lane("a"), lane("b"), lane("c"), lane("d")]).await;
    manager.start().await.expect("starts");
    let log = Log::default();
    for name in ["b", "d", "a", "d"] {
        let receiver = submit(&manager, name, log.command(name)).await;
        outcome(receiver).await.expect("it runs");
    }
    // Nothing runs between these submits: this is the only thread, and none of them waits.
    let mut receivers = Vec::new();
    for name in ["a", "b", "c", "d"] {
        receivers.push(submit(&manager, name, log.command(name)).await);
    }
    for receiver in receivers {
        outcome(receiver).await.expect("it runs");
    }
    assert_eq!(log.entries()[4..], ["c", "b", "a", "d"]);
}

/// The order between lanes of different priority, which equal lanes must not disturb.
#[tokio::test]
async fn l26_more_urgent_lanes_still_go_first() {
    let lane = |id, priority| (id, LaneConfig::new(1, 1), priority);
    let lanes = [lane("c", 9), lane("a", 1), lane("b", 1)];
    let names = ["c1", "c2", "a1", "a2", "b1", "b2"];
    let order = within(order_of(&lanes, &names)).await;
    assert_eq!(order, ["a1", "b1", "a2", "b2", "c1", "c2"]);
}
