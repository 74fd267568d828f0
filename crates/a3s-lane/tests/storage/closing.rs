//! The end of the use of a directory: another process can have it at once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use a3s_lane::storage::{DeadLetterFilter, HistoryFilter, LocalStorage, Storage};
use a3s_lane::{
    CommandContext, EventEmitter, Handler, JsonCommand, LaneConfig, QueueManager,
    QueueManagerBuilder, SubmitOptions,
};
use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};

use super::{child, close, open, record};

/// What the other process does: it says what it finds.
pub(crate) async fn look(directory: &Path) {
    match LocalStorage::new(directory.to_owned()).await {
        Err(error) => print!("\n={error}\n"),
        Ok(storage) => {
            let commands = storage.load_commands().await.expect("readable");
            let ids = commands.into_iter().map(|command| command.id);
            print!("\n=found {}\n", ids.collect::<Vec<_>>().join(" "));
        }
    }
}

/// What another process says that opens the directory.
fn seen_by_another_process(directory: &Path) -> String {
    let child = child::spawn(child::command("look", directory));
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8(output.stdout).expect("text");
    let said = text.lines().find_map(|line| line.strip_prefix('='));
    said.expect("it says something").to_owned()
}

#[tokio::test]
async fn a_directory_that_was_closed_is_free_for_another_process() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let directory = directory.path();
    let storage = open(directory).await;
    let saved = storage.save_commands(vec![record("awaited")]);
    saved.await.expect("saved");
    assert!(seen_by_another_process(directory).contains("in use by another process"));
    // Asked for, and written before the end.
    let mut asked = storage.save_commands(vec![record("asked")]);
    let _ = futures::poll!(&mut asked);
    storage.close().await.expect("it closes");
    asked.await.expect("it was asked for before");
    assert_eq!(seen_by_another_process(directory), "found awaited asked");
    storage.close().await.expect("it is closed");
    // And for this one, although the closed handle is there.
    let again = open(directory).await;
    assert_eq!(again.load_commands().await.expect("readable").len(), 2);
    drop(storage);
    again.load_commands().await.expect("it is another handle");
}

#[tokio::test]
async fn a_closed_handle_says_so() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let storage = open(directory.path()).await;
    storage.close().await.expect("it closes");
    let all = DeadLetterFilter::all();
    let errors = [
        storage.save_commands(vec![record("a")]).await,
        storage.load_commands().await.map(drop),
        storage.load_page(None, 10).await.map(drop),
        storage.load_command("a").await.map(drop),
        storage.has_command("a").await.map(drop),
        storage.start_command("a", 1).await,
        storage.requeue_command("a").await,
        storage.settle_commands(Vec::new()).await,
        storage.load_result("a").await.map(drop),
        storage.find_dead_letters(&all).await.map(drop),
        storage.count_dead_letters().await.map(drop),
        storage.load_history(&HistoryFilter::all()).await.map(drop),
        storage.clear_all().await,
    ];
    for error in errors {
        let text = error.expect_err("it is closed").to_string();
        assert!(text.ends_with(": the storage was closed"), "{text}");
        assert!(text.contains(directory.path().to_str().expect("text")));
    }
}

#[tokio::test]
async fn the_last_handle_gives_the_directory_up() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let directory = directory.path();
    let (first, second) = (open(directory).await, open(directory).await);
    assert_eq!(first.identity(), second.identity());
    first.close().await.expect("it closes");
    first.close().await.expect("counted once");
    let saved = second.save_commands(vec![record("a")]).await;
    saved.expect("its own handle is open");
    assert!(seen_by_another_process(directory).contains("in use by another process"));
    // A close that nobody waits for is one.
    let _ = second.close().now_or_never();
    second.close().await.expect("it waits for the same end");
    assert_eq!(seen_by_another_process(directory), "found a");
}

async fn hangs(_: Value, context: CommandContext) -> a3s_lane::Result<Value> {
    context.progress(json!("runs"));
    std::future::pending().await
}

async fn manager_on(directory: &Path, handler: impl Handler + 'static) -> QueueManager {
    let manager = QueueManagerBuilder::new(EventEmitter::new(16))
        .with_lane("skill", LaneConfig::new(0, 1), 0)
        .with_handler("mail", handler)
        .with_storage(Arc::new(open(directory).await))
        .build()
        .await
        .expect("the settings are right");
    manager.start().await.expect("it starts");
    manager
}

#[tokio::test]
async fn a_manager_that_was_closed_leaves_its_work_to_another_process() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let directory = directory.path();
    let manager = manager_on(directory, hangs).await;
    let submit = async |id: &str| {
        let command = Box::new(JsonCommand::new("mail", json!(null)));
        let options = SubmitOptions::new().with_id(id);
        manager
            .submit_with("skill", command, options)
            .await
            .expect("accepted")
    };
    let (runs, waits) = (submit("runs").await, submit("waits").await);
    runs.progress().next().await.expect("it runs");
    manager.close().await.expect("it closes");
    assert_eq!(seen_by_another_process(directory), "found runs waits");
    for handle in [runs, waits] {
        handle.result().await.expect_err("the queue has ended");
    }
    let error = manager
        .stats()
        .await
        .expect_err("it has to ask the storage");
    assert!(
        error.to_string().ends_with("the storage was closed"),
        "{error}"
    );
    manager.shutdown_within(Duration::ZERO).await;
    manager.close().await.expect("it is closed");
    let storage = open(directory).await;
    let record = storage.load_command("runs").await.expect("readable");
    let record = record.expect("it is stored");
    assert_eq!((record.command.retry_count, record.crashes), (0, 0));
}

/// Submissions that their caller holds, and does not go on with once their storage was asked to take them down.
async fn held_at_an_end(goes_on: bool) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let directory = directory.path();
    let manager = manager_on(directory, hangs).await;
    let command = || Box::new(JsonCommand::new("mail", json!(null)));
    let mut plain = Box::pin(manager.submit("skill", command()));
    let options = SubmitOptions::new().with_id("named");
    let mut named = Box::pin(manager.submit_with("skill", command(), options));
    let many = vec![(command() as _, SubmitOptions::new())];
    let mut many = Box::pin(manager.submit_many("skill", many));
    // Asked for now, and answered to nobody.
    assert!(futures::poll!(&mut plain).is_pending());
    assert!(futures::poll!(&mut named).is_pending());
    assert!(futures::poll!(&mut many).is_pending());
    let closed = tokio::time::timeout(Duration::from_secs(30), manager.close());
    closed.await.expect("it ends").expect("it closes");
    if goes_on {
        // They were accepted, and stay stored.
        let ended = plain.await.expect("accepted").await.expect("it is told");
        assert!(ended.is_err_and(|error| error.to_string().contains("shut down")));
        let ended = named.await.expect("accepted").result().await;
        assert!(ended.is_err_and(|error| error.to_string().contains("shut down")));
        for handle in many.await {
            assert!(handle.expect("accepted").result().await.is_err());
        }
    } else {
        drop((plain, named, many));
    }
    drop(manager);
    let storage = open(directory).await;
    let stored = storage.load_commands().await.expect("readable");
    assert_eq!(stored.len(), 3);
    close(storage, directory);
}

#[tokio::test]
async fn a_close_goes_on_with_submissions_that_nobody_goes_on_with() {
    held_at_an_end(true).await;
    held_at_an_end(false).await;
}

#[tokio::test]
async fn a_drain_goes_on_with_submissions_that_nobody_goes_on_with() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let echo = |payload: Value, _: CommandContext| async move { Ok(payload) };
    let manager = manager_on(directory.path(), echo).await;
    let command = Box::new(JsonCommand::new("mail", json!(7)));
    let mut held = Box::pin(manager.submit("skill", command));
    assert!(futures::poll!(&mut held).is_pending());
    let drained = manager.drain(Duration::from_secs(30)).await;
    drained.expect("everything ends");
    let result = held.await.expect("accepted").await.expect("it is told");
    assert_eq!(result.expect("it completes"), 7);
}

/// Otherwise its disk cannot be unmounted, nor can it be deleted on Windows.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_file_of_a_storage_that_was_closed_is_open() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().canonicalize().expect("there");
    let open_files = || -> Vec<std::path::PathBuf> {
        let files = std::fs::read_dir("/proc/self/fd").expect("readable");
        let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        links.filter(|link| link.starts_with(&path)).collect()
    };
    let storage = open(&path).await;
    storage.save_commands(vec![record(1)]).await.expect("saved");
    storage.start_command("1", 1).await.expect("noted");
    assert!(!open_files().is_empty());
    storage.close().await.expect("closed");
    assert_eq!(open_files(), [""; 0].map(std::path::PathBuf::from));
    drop(storage);
}
