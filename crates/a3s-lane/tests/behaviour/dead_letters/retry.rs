//! Dead letters become commands again.

use super::*;

#[tokio::test]
async fn a_retry_runs_under_the_old_id_with_the_old_options_from_the_first_attempt() {
    for &place in PLACES {
        let (builder, _directory) = place.configure(lanes()).await;
        let manager = started(builder).await;
        let letters = manager.dead_letters();
        let options = SubmitOptions::new()
            .with_id("job")
            .with_ttl(Duration::from_secs(600))
            .with_retry_policy(RetryPolicy::fixed(1, Duration::ZERO))
            .with_metadata("trace", "t1");
        let broken = job("x", json!({"fail": "boom"}));
        let handle = submit_with(&manager, "a", broken, options).await;
        settled(&handle).await.expect_err("it fails");
        let before = all(&letters).await.remove(0);

        // It fails again, with its two attempts, and leaves a new letter.
        let handle = letters.retry("job").await.expect("it can be retried");
        assert_eq!(handle.id(), "job");
        settled(&handle).await.expect_err("it fails again");
        let after = all(&letters).await;
        assert_eq!(ids(&after), ["job"], "{place:?}");
        assert_eq!((before.attempts, after[0].attempts), (2, 2));
        assert!(after[0].failed_at >= before.failed_at);
        let mut options = before.options.clone();
        // It counts until the first start.
        options.expires_at = None;
        assert_eq!(after[0].options, options);
        assert_eq!(after[0].payload, before.payload);

        let handle = letters.retry_with("job", json!({"n": 1})).await;
        let result = settled(&handle.expect("it can be retried")).await;
        let expected = json!({
            "payload": {"n": 1}, "id": "job", "lane": "a", "attempt": 1, "metadata": {"trace": "t1"},
        });
        assert_eq!(result.expect("it completes"), expected);
        assert!(all(&letters).await.is_empty(), "{place:?}");
        let stats = manager.stats().await.expect("it can count");
        assert_eq!(stats.dead_letter_count, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_keeps_its_place_and_its_time_limit() {
    // Time that is paused does not wait for a disk.
    for place in [Place::Memory, Place::Storage] {
        let log = Log::default();
        let ran = log.clone();
        let handler = move |payload: Value, context: CommandContext| {
            ran.push(context.id());
            async move {
                match payload["hang"].as_bool() {
                    Some(true) => std::future::pending().await,
                    Some(false) => Ok(Value::Null),
                    None => Err(LaneError::CommandError("no".to_owned())),
                }
            }
        };
        let (builder, _directory) = place.configure(lanes().with_handler("x", handler)).await;
        let manager = started(builder).await;
        let letters = manager.dead_letters();
        for (id, priority) in [("late", 5), ("soon", -5)] {
            let options = SubmitOptions::new()
                .with_id(id)
                .with_priority(priority)
                .with_timeout(Duration::from_secs(3));
            let handle = submit_with(&manager, "a", job("x", json!({})), options).await;
            settled(&handle).await.expect_err("it fails");
        }
        manager.pause_lane("a").expect("there is such a lane");
        let late = letters.retry_with("late", json!({"hang": false})).await;
        let soon = letters.retry_with("soon", json!({"hang": true})).await;
        manager.resume_lane("a").expect("there is such a lane");
        let (late, soon) = (late.expect("retried"), soon.expect("retried"));
        let error = settled(&soon).await.expect_err("it meets its limit");
        assert!(matches!(error, LaneError::Timeout(limit) if limit.as_secs() == 3));
        settled(&late).await.expect("it completes");
        assert_eq!(log.entries(), ["late", "soon", "soon", "late"], "{place:?}");
    }
}

#[tokio::test]
async fn a_second_retry_finds_nothing() {
    for &place in PLACES {
        let (builder, _directory) = place.configure(lanes()).await;
        let manager = started(builder).await;
        let letters = manager.dead_letters();
        fail(&manager, "a", "x", "job").await;
        let handle = letters
            .retry_with("job", json!({}))
            .await
            .expect("the first");
        settled(&handle).await.expect("it completes");
        let error = letters.retry("job").await.expect_err("the second");
        assert_eq!(error.code(), "COMMAND_NOT_FOUND", "{place:?}");
        assert_eq!(
            error.to_string(),
            r#"Command not found: no dead letter of a command "job""#
        );
    }
}

/// Two retries of one letter while the first waits: exactly one submits it, and a discard in between leaves it alone.
async fn one_of_two(letters: &DeadLetters, let_go: impl FnOnce()) -> CommandHandle {
    let (one, two) = (letters.clone(), letters.clone());
    let first = tokio::spawn(async move { one.retry_with("job", json!({})).await });
    let_others_run().await;
    let second = tokio::spawn(async move { two.retry("job").await });
    let error = within(second)
        .await
        .expect("no panic")
        .expect_err("the first has it");
    assert_eq!(error.code(), "DUPLICATE");
    let all = DeadLetterFilter::all();
    assert_eq!(letters.discard(&all).await.expect("a discard"), 0);
    assert!(letters.retry_all(&all).await.expect("retries").is_empty());
    let_go();
    within(first)
        .await
        .expect("no panic")
        .expect("it is retried")
}

#[tokio::test]
async fn of_two_retries_at_once_one_wins_in_memory() {
    let options = LaneOptions::new()
        .with_max_pending(1)
        .with_overflow(Overflow::Wait);
    let manager = started(lanes().with_dlq(100).with_lane_options("a", options)).await;
    let letters = manager.dead_letters();
    fail(&manager, "a", "x", "job").await;
    manager.pause_lane("a").expect("there is such a lane");
    let other = submit(&manager, "a", nothing("other")).await;
    let resume = || manager.resume_lane("a").expect("there is such a lane");
    let handle = one_of_two(&letters, resume).await;
    settled(&handle).await.expect("it completes");
    within(other)
        .await
        .expect("resolved")
        .expect("it completes");
    assert!(all(&letters).await.is_empty());
}

#[tokio::test]
async fn of_two_retries_at_once_one_wins_in_a_storage() {
    let gate = Gate::new();
    let vault = Vault::with_revivals_behind(&gate);
    let manager = started(lanes().with_storage(vault)).await;
    let letters = manager.dead_letters();
    fail(&manager, "a", "x", "job").await;
    let handle = one_of_two(&letters, || gate.open()).await;
    settled(&handle).await.expect("it completes");
    assert!(all(&letters).await.is_empty());
}

#[tokio::test]
async fn a_retry_that_is_given_up_leaves_the_letter() {
    let gate = Gate::new();
    let manager = started(lanes().with_storage(Vault::with_revivals_behind(&gate))).await;
    let letters = manager.dead_letters();
    fail(&manager, "a", "x", "job").await;
    let mine = letters.clone();
    let call = tokio::spawn(async move { mine.retry("job").await });
    let_others_run().await;
    call.abort();
    call.await.expect_err("it was given up");
    assert_eq!(ids(&all(&letters).await), ["job"]);
    gate.open();
    let handle = letters
        .retry_with("job", json!({}))
        .await
        .expect("it is free again");
    settled(&handle).await.expect("it completes");
}

#[tokio::test]
async fn all_letters_are_retried_oldest_first_and_a_bad_one_keeps_none_back() {
    for &place in PLACES {
        let log = Log::default();
        let ran = log.clone();
        let builder = lanes().with_handler("y", move |_: Value, context: CommandContext| {
            ran.push(context.id());
            async { Ok(Value::Null) }
        });
        let (builder, _directory) = place.configure(builder).await;
        let manager = started(builder).await;
        let letters = manager.dead_letters();
        for id in ["1", "2", "3"] {
            fail(&manager, "a", "x", id).await;
        }
        // Another program's letters: of a type without handler, of a lane that is not here, and two of the same command.
        let text = letters
            .export(&DeadLetterFilter::all())
            .await
            .expect("text");
        letters
            .discard(&DeadLetterFilter::all())
            .await
            .expect("discards");
        let lines: Vec<&str> = text.lines().collect();
        let y = |line: &str| line.replace(r#""command_type":"x""#, r#""command_type":"y""#);
        let moved = [
            y(lines[0]),
            y(lines[1]).replace(r#""lane_id":"a""#, r#""lane_id":"gone""#),
            lines[2].replace(r#""command_type":"x""#, r#""command_type":"z""#),
            y(lines[2]).replace(r#""command_id":"3""#, r#""command_id":"4""#),
        ];
        assert_eq!(letters.import(&moved.join("\n")).await.expect("imports"), 4);
        manager.pause_lane("a").expect("there is such a lane");
        let retried = letters
            .retry_all(&DeadLetterFilter::all())
            .await
            .expect("retries");
        manager.resume_lane("a").expect("there is such a lane");
        let code = |result: &Result<CommandHandle>| result.as_ref().err().map(LaneError::code);
        let told: Vec<_> = retried
            .iter()
            .map(|(id, it)| (id.as_str(), code(it)))
            .collect();
        let expected = [
            ("1", None),
            ("2", Some("LANE_NOT_FOUND")),
            ("3", Some("CONFIG_ERROR")),
            ("4", None),
        ];
        assert_eq!(told, expected, "{place:?}");
        for handle in retried.iter().filter_map(|(_, it)| it.as_ref().ok()) {
            settled(handle).await.expect("it completes");
        }
        assert_eq!(log.entries(), ["1", "4"]);
        assert_eq!(ids(&all(&letters).await), ["2", "3"]);
    }
}

#[tokio::test]
async fn the_newest_letter_of_a_command_is_retried_and_all_go() {
    for &place in PLACES {
        let (builder, _directory) = place.configure(lanes()).await;
        let manager = started(builder).await;
        let letters = manager.dead_letters();
        fail(&manager, "a", "x", "job").await;
        fail(&manager, "b", "x", "job").await;
        assert_eq!(ids(&all(&letters).await), ["job", "job"]);
        let mut retried = letters
            .retry_all(&DeadLetterFilter::all())
            .await
            .expect("retries");
        assert_eq!(retried.len(), 1);
        let handle = retried.remove(0).1.expect("it is retried");
        assert_eq!(handle.lane_id(), "b", "{place:?}");
        settled(&handle).await.expect_err("it fails again");
        assert_eq!(ids(&all(&letters).await), ["job"]);
    }
}

#[tokio::test]
async fn a_letter_that_cannot_be_retried_stays() {
    for &place in PLACES {
        let options = LaneOptions::new().with_max_pending(1);
        let (builder, _directory) = place
            .configure(lanes().with_lane_options("b", options))
            .await;
        let manager = started(builder).await;
        let letters = manager.dead_letters();
        // A command that gave no payload.
        let handle = submit_with(
            &manager,
            "a",
            failing("x"),
            SubmitOptions::new().with_id("bare"),
        );
        settled(&handle.await).await.expect_err("it fails");
        let error = letters
            .retry("bare")
            .await
            .expect_err("there is no payload");
        assert_eq!(error.code(), "CONFIG_ERROR", "{place:?}");
        assert!(error.to_string().contains("kept no payload"), "{error}");
        // With one it can.
        let handle = letters
            .retry_with("bare", json!({}))
            .await
            .expect("a payload");
        settled(&handle).await.expect("it completes");

        fail(&manager, "b", "x", "job").await;
        manager.remove_handler("x");
        let error = letters.retry("job").await.expect_err("there is no handler");
        assert_eq!(error.code(), "CONFIG_ERROR");
        assert!(
            error
                .to_string()
                .ends_with(r#"type "x" has no handler and no factory"#),
            "{error}"
        );
        manager.register_handler("x", work);

        manager.pause_lane("b").expect("there is such a lane");
        let other = submit_with(&manager, "b", nothing("other"), SubmitOptions::new()).await;
        let error = letters.retry("job").await.expect_err("the lane is full");
        assert_eq!(error.code(), "LANE_FULL");
        other.cancel();
        manager.resume_lane("b").expect("there is such a lane");

        manager.remove_lane("b").expect("it is empty");
        let error = letters.retry("job").await.expect_err("there is no lane");
        assert_eq!(error.code(), "LANE_NOT_FOUND");

        // Somebody else has its id.
        let endless = crate::support::endless("other");
        let taken = submit_with(&manager, "a", endless, SubmitOptions::new().with_id("job")).await;
        let lane = LaneConfig::new(0, 1);
        manager
            .set_lane("b", lane, LaneOptions::new(), 1)
            .expect("a lane");
        let error = letters.retry("job").await.expect_err("the id is taken");
        assert_eq!(error.code(), "DUPLICATE");
        taken.cancel();
        assert_eq!(
            settled(&taken).await.expect_err("cancelled").code(),
            "CANCELLED"
        );

        manager.shutdown().await;
        let error = letters.retry("job").await.expect_err("nothing comes in");
        assert_eq!(error.code(), "SHUTDOWN_IN_PROGRESS");
        assert_eq!(ids(&all(&letters).await), ["job"], "{place:?}");
    }
}

#[tokio::test]
async fn a_retry_neither_joins_nor_replaces_the_holder_of_its_unique_key() {
    use a3s_lane::OnConflict;

    for &place in PLACES {
        for on_conflict in [OnConflict::Join, OnConflict::Replace, OnConflict::Reject] {
            let (builder, _directory) = place.configure(lanes()).await;
            let manager = started(builder).await;
            let letters = manager.dead_letters();
            let unique = || Unique::new("one").on_conflict(on_conflict);
            let options = SubmitOptions::new().with_id("job").with_unique(unique());
            let broken = job("x", json!({"fail": "boom"}));
            let handle = submit_with(&manager, "a", broken, options).await;
            settled(&handle).await.expect_err("it fails");
            let options = SubmitOptions::new().with_unique(unique());
            let holder = submit_with(&manager, "a", crate::support::endless("y"), options).await;
            let error = letters.retry("job").await.expect_err("the key is held");
            assert_eq!(error.code(), "DUPLICATE", "{place:?} {on_conflict:?}");
            assert!(!holder.status().is_settled());
            assert_eq!(ids(&all(&letters).await), ["job"]);
            holder.cancel();
            settled(&holder).await.expect_err("cancelled");
            let handle = letters
                .retry_with("job", json!({}))
                .await
                .expect("it is free");
            settled(&handle).await.expect("it completes");
        }
    }
}

#[tokio::test]
async fn without_a_place_for_letters_the_error_says_what_to_configure() {
    let manager = started(lanes()).await;
    let letters = manager.dead_letters();
    let all = DeadLetterFilter::all();
    let errors = [
        letters.list(&all).await.map(drop),
        letters.retry("job").await.map(drop),
        letters.retry_with("job", json!({})).await.map(drop),
        letters.retry_all(&all).await.map(drop),
        letters.discard(&all).await.map(drop),
        letters.export(&all).await.map(drop),
        letters.import("").await.map(drop),
    ];
    for error in errors {
        let text = "Configuration error: dead letters: none are kept; build the manager with with_storage or with_dlq";
        assert_eq!(error.expect_err("none are kept").to_string(), text);
    }
}

#[tokio::test]
async fn a_storage_that_fails_is_an_error_of_every_call() {
    let vault = Vault::new();
    let manager = started(lanes().with_storage(vault.clone())).await;
    let letters = manager.dead_letters();
    fail(&manager, "a", "x", "job").await;
    let line = letters
        .export(&DeadLetterFilter::all())
        .await
        .expect("text");
    vault.break_down();
    let all = DeadLetterFilter::all();
    let errors = [
        letters.list(&all).await.map(drop),
        letters.retry("job").await.map(drop),
        letters.retry_all(&all).await.map(drop),
        letters.discard(&all).await.map(drop),
        letters.export(&all).await.map(drop),
        letters.import(&line).await.map(drop),
        manager.stats().await.map(drop),
    ];
    for error in errors {
        assert_eq!(error.expect_err("it fails").code(), "STORAGE_ERROR");
    }
}

#[tokio::test]
async fn a_retry_leaves_the_storage_one_pending_command_and_no_letter() {
    let vault = Vault::new();
    let manager = started(lanes().with_storage(vault.clone()).with_dlq(10)).await;
    let options = SubmitOptions::new()
        .with_id("job")
        .with_key("tenant")
        .with_ttl(Duration::from_secs(600));
    let handle = submit_with(&manager, "a", job("x", json!({"fail": "boom"})), options).await;
    settled(&handle).await.expect_err("it fails");
    let queue = manager.queue();
    let memory = queue.dlq().expect("it has both");
    assert_eq!((memory.len().await, vault.records().len()), (1, 0));
    manager.pause_lane("a").expect("there is such a lane");
    let letters = manager.dead_letters();
    let handle = letters
        .retry_with("job", json!({"n": 1}))
        .await
        .expect("retried");
    assert!(all(&letters).await.is_empty() && memory.is_empty().await);
    let stored = vault.records();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].command.payload, json!({"n": 1}));
    assert_eq!((stored[0].command.retry_count, stored[0].crashes), (0, 0));
    assert_eq!(stored[0].options.key.as_deref(), Some("tenant"));
    assert!(stored[0].options.expires_at.is_none() && stored[0].failures.is_empty());
    manager.resume_lane("a").expect("there is such a lane");
    settled(&handle).await.expect("it completes");
    eventually("nothing is stored", async || vault.records().is_empty()).await;
}

/// As many as there are go into the storage at once, lane by lane.
#[tokio::test]
async fn all_letters_of_a_lane_are_retried_in_one_call_of_the_storage() {
    let vault = Vault::new();
    let manager = started(lanes().with_storage(vault.clone())).await;
    let letters = manager.dead_letters();
    for number in 0..10 {
        let lane = if number % 2 == 0 { "a" } else { "b" };
        fail(&manager, lane, "x", &number.to_string()).await;
    }
    let before = vault.log.entries().len();
    let all_of_them = DeadLetterFilter::all();
    let retried = letters.retry_all(&all_of_them).await.expect("retries");
    let told: Vec<&str> = retried.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(told, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    for (_, handle) in &retried {
        let handle = handle.as_ref().expect("it is retried");
        settled(handle).await.expect_err("it fails again");
    }
    let calls = vault.log.entries();
    let revivals: Vec<_> = calls[before..]
        .iter()
        .filter(|call| call.starts_with("revive"))
        .collect();
    assert_eq!(revivals, ["revive 5", "revive 5"]);
}

#[tokio::test]
async fn letters_that_the_storage_cannot_revive_stay() {
    let vault = Vault::new();
    let manager = started(lanes().with_storage(vault.clone())).await;
    let letters = manager.dead_letters();
    for id in ["1", "2"] {
        fail(&manager, "a", "x", id).await;
    }
    vault.set_fault("revive", true);
    let retried = letters.retry_all(&DeadLetterFilter::all()).await;
    for (id, answer) in retried.expect("the letters can be read") {
        assert_eq!(
            answer.expect_err("it fails").code(),
            "STORAGE_ERROR",
            "{id}"
        );
    }
    let error = letters.retry("1").await.expect_err("it fails");
    assert_eq!(error.code(), "STORAGE_ERROR");
    assert_eq!(ids(&all(&letters).await), ["1", "2"]);
    assert!(vault.records().is_empty());
}

/// The queue ends between the two: the storage has made the letter a pending command, and the lane takes no more.
#[test]
fn a_letter_stays_when_the_queue_ends_during_its_retry() {
    let gate = Gate::new();
    let vault = Vault::with_revivals_behind(&gate);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (manager, before) = runtime.block_on(async {
        let manager = started(lanes().with_storage(vault.clone())).await;
        fail(&manager, "a", "x", "job").await;
        let before = all(&manager.dead_letters()).await;
        // Something that the end of the runtime stops, which ends the queue.
        submit(&manager, "b", crate::support::endless("y")).await;
        (manager, before)
    });
    let other = tokio::runtime::Runtime::new().expect("a runtime");
    other.block_on(async {
        let letters = manager.dead_letters();
        let mut retrying = Box::pin(letters.retry_with("job", json!({})));
        assert!(futures::poll!(&mut retrying).is_pending());
        runtime.shutdown_background();
        eventually("the queue has ended", async || {
            manager.submit("a", nothing("probe")).await.is_err()
        })
        .await;
        gate.open();
        let error = within(retrying).await.expect_err("the queue has ended");
        assert_eq!(error.code(), "QUEUE_ERROR");
        assert_eq!(all(&letters).await, before);
        assert!(vault.types().iter().all(|kind| kind != "x"));
    });
}

/// A storage that fails right after the command is in: the command runs, and the letter stays.
#[tokio::test]
async fn a_letter_of_a_lane_without_storage_that_cannot_be_removed_has_a_handle() {
    let vault = Vault::new();
    let manager = started(lanes().with_storage(vault.clone())).await;
    let bare = a3s_lane::Lane::new("bare", LaneConfig::new(0, 1), 2);
    manager.queue().register_lane(Arc::new(bare)).await;
    let letters = manager.dead_letters();
    fail(&manager, "a", "x", "job").await;
    let text = letters
        .export(&DeadLetterFilter::all())
        .await
        .expect("text");
    letters
        .discard(&DeadLetterFilter::all())
        .await
        .expect("gone");
    let moved = text.replace(r#""lane_id":"a""#, r#""lane_id":"bare""#);
    letters.import(&moved).await.expect("imports");
    vault.set_fault("discard", true);
    let handle = letters.retry_with("job", json!({})).await;
    settled(&handle.expect("it is in"))
        .await
        .expect("it completes");
    assert_eq!(ids(&all(&letters).await), ["job"]);
}
