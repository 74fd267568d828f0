//! L6, L15: nobody can see what blocks a lane, and stale commands run long after they matter.

use std::time::Duration;

use a3s_lane::{CommandStatus, LaneConfig, LaneOptions, SubmitOptions, WaitReason};

use crate::support::{
    Log, endless, let_others_run, manager_with, nothing, reaches, reasons, settled, started,
    submit_with,
};

/// openclaw/openclaw#82791: a lane stood still and nothing said why. Every waiting command names what it waits for.
#[tokio::test(start_paused = true)]
async fn l06_every_waiting_command_says_what_blocks_it() {
    let manager = manager_with(&[("main", LaneConfig::new(0, 1), 0)]).await;
    let named = |id: &str| SubmitOptions::new().with_id(id);
    let hung = submit_with(&manager, "main", endless("hung"), named("hung")).await;
    let stuck = submit_with(&manager, "main", nothing("stuck"), named("stuck")).await;
    assert_eq!(reasons(&hung), ["not_started"]);
    manager.start().await.expect("starts");
    reaches(&hung, CommandStatus::Running).await;
    let explanation = stuck.explain().expect("it waits");
    let culprit = WaitReason::LaneFull {
        max: 1,
        running: vec!["hung".to_owned()],
    };
    assert_eq!(explanation.reasons, [culprit]);
    assert_eq!(
        explanation.to_string(),
        "stuck in main is pending: the lane's 1 slots are held by hung"
    );
    // The same by the id alone, and in the state as a whole.
    assert_eq!(
        manager.explain("stuck").expect("it waits").reasons,
        explanation.reasons
    );
    let snapshot = manager.snapshot();
    let waiting: Vec<_> = snapshot
        .commands
        .iter()
        .filter(|command| !command.explanation.reasons.is_empty())
        .map(|command| command.explanation.command_id.as_str())
        .collect();
    assert_eq!(waiting, ["stuck"]);
    assert!(hung.cancel());
    settled(&stuck).await.expect("what blocked it is gone");
    assert!(stuck.explain().is_none());
}

/// Whatever state a lane is in: a command that waits has a reason, and one without a reason is not left waiting.
#[tokio::test(start_paused = true)]
async fn l06_nothing_waits_without_a_reason() {
    let manager = started(LaneConfig::new(0, 2)).await;
    let mut handles = Vec::new();
    for number in 0..20_u64 {
        let mut options = SubmitOptions::new().with_key(format!("key {}", number % 3));
        if number % 4 == 0 {
            options = options.with_delay(Duration::from_secs(number));
        }
        handles.push(submit_with(&manager, "only", endless("t"), options).await);
    }
    manager.pause_key("key 1");
    for round in 0..40 {
        let_others_run().await;
        for handle in &handles {
            let waits = handle.status() != CommandStatus::Running && !handle.status().is_settled();
            assert_eq!(!reasons(handle).is_empty(), waits, "{handle:?}");
        }
        match round {
            5 => manager.pause_lane("only").expect("it exists"),
            10 => manager.resume_lane("only").expect("it exists"),
            15 => manager.set_max_concurrency(Some(1)).expect("no minimums"),
            20 => manager.resume_key("key 1"),
            _ => {}
        }
        let running = handles
            .iter()
            .find(|handle| handle.status() == CommandStatus::Running);
        if round > 20
            && let Some(running) = running
        {
            assert!(running.cancel());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// avifenesh/glide-mq#72, taskforcesh/bullmq#301: a command that was not started in time does not run at all.
#[tokio::test(start_paused = true)]
async fn l15_a_stale_command_never_starts() {
    let manager = started(LaneConfig::new(0, 1)).await;
    let log = Log::default();
    let busy = SubmitOptions::new().with_timeout(Duration::from_secs(100));
    submit_with(&manager, "only", endless("busy"), busy).await;
    let ttl = |secs| SubmitOptions::new().with_ttl(Duration::from_secs(secs));
    let stale = submit_with(&manager, "only", log.command("stale"), ttl(99)).await;
    let fresh = submit_with(&manager, "only", log.command("fresh"), ttl(101)).await;
    let error = stale.result().await.expect_err("it is too late");
    assert_eq!(error.code(), "EXPIRED");
    assert_eq!(stale.status(), CommandStatus::Expired);
    fresh.result().await.expect("it is in time");
    assert_eq!(log.entries(), ["fresh"]);
}

/// Looked at before the start, not only by a timer: it does not start at the very moment when it expires.
#[tokio::test(start_paused = true)]
async fn l15_the_time_to_live_is_checked_before_the_start() {
    let manager = manager_with(&[("only", LaneConfig::new(0, 1), 0)]).await;
    let log = Log::default();
    let ttl = SubmitOptions::new().with_ttl(Duration::from_secs(10));
    let stale = submit_with(&manager, "only", log.command("stale"), ttl).await;
    // No timer runs before the start.
    tokio::time::advance(Duration::from_secs(10)).await;
    manager.start().await.expect("starts");
    settled(&stale).await.expect_err("it is too late");
    assert!(log.entries().is_empty());
}

/// Time in a paused lane counts, and a retry is no new life.
#[tokio::test(start_paused = true)]
async fn l15_pauses_count_and_retries_do_not() {
    let manager = crate::support::started_with(LaneOptions::new()).await;
    manager.pause_lane("only").expect("it exists");
    let ttl = SubmitOptions::new().with_ttl(Duration::from_secs(10));
    let stale = submit_with(&manager, "only", nothing("stale"), ttl.clone()).await;
    settled(&stale).await.expect_err("it is too late");
    manager.resume_lane("only").expect("it exists");
    let retry = a3s_lane::RetryPolicy::fixed(1, Duration::from_secs(100));
    let body = crate::support::command("t", |attempt| async move {
        match attempt {
            1 => Err(a3s_lane::LaneError::CommandError("once".to_owned())),
            _ => Ok(attempt.into()),
        }
    });
    let handle = submit_with(&manager, "only", body, ttl.with_retry_policy(retry)).await;
    assert_eq!(handle.result().await.expect("it was started in time"), 2);
}
