//! Progress and chunks.

use super::*;
use crate::handle::chunks::{MAX_BYTES, MAX_CHUNKS};

/// Polls the stream once on behalf of `wakes`.
fn poll_next<S: Stream + Unpin>(stream: &mut S, wakes: &Arc<Wakes>) -> Poll<Option<S::Item>> {
    pin!(stream).poll_next(&mut Context::from_waker(&wakes.waker()))
}

/// What the stream has at this moment, and whether it has ended.
fn read<S: Stream + Unpin>(stream: &mut S) -> (Vec<S::Item>, bool) {
    let mut items = Vec::new();
    loop {
        match poll_next(stream, &Wakes::new()) {
            Poll::Ready(Some(item)) => items.push(item),
            Poll::Ready(None) => return (items, true),
            Poll::Pending => return (items, false),
        }
    }
}

fn values(chunks: &[Chunk]) -> Vec<Value> {
    chunks.iter().map(|chunk| chunk.value.clone()).collect()
}

#[test]
fn a_slow_reader_sees_the_newest_progress() {
    let (shared, handle) = command();
    let mut stream = handle.progress();
    assert_eq!(read(&mut stream), (vec![], false));
    for value in 0..100 {
        shared.progress(json!(value));
    }
    assert_eq!(read(&mut stream), (vec![json!(99)], false));
    assert_eq!(read(&mut stream), (vec![], false));
    // The same value again is news: the command is still alive.
    shared.progress(json!(99));
    assert_eq!(read(&mut stream), (vec![json!(99)], false));
}

#[test]
fn readers_of_progress_do_not_share_their_place() {
    let (shared, handle) = command();
    shared.progress(json!(1));
    let (mut first, mut second) = (handle.progress(), handle.progress());
    assert_eq!(read(&mut first), (vec![json!(1)], false));
    shared.progress(json!(2));
    assert_eq!(read(&mut first), (vec![json!(2)], false));
    assert_eq!(read(&mut second), (vec![json!(2)], false));
}

#[test]
fn progress_ends_at_settlement_after_the_last_value() {
    let (shared, handle) = command();
    let mut behind = handle.progress();
    let mut up_to_date = handle.progress();
    shared.progress(json!(1));
    assert_eq!(read(&mut up_to_date), (vec![json!(1)], false));
    completed(&shared, json!(null));
    shared.progress(json!(2));
    assert_eq!(read(&mut behind), (vec![json!(1)], true));
    assert_eq!(read(&mut up_to_date), (vec![], true));
    assert_eq!(read(&mut handle.progress()), (vec![json!(1)], true));
    let (silent, handle) = command();
    completed(&silent, json!(null));
    assert_eq!(read(&mut handle.progress()), (vec![], true));
}

#[test]
fn progress_wakes_its_readers_only() {
    let (shared, handle) = command();
    let (progress, chunks) = (Wakes::new(), Wakes::new());
    let (mut progress_stream, mut chunk_stream) = (handle.progress(), handle.chunks());
    assert!(poll_next(&mut progress_stream, &progress).is_pending());
    assert!(poll_next(&mut chunk_stream, &chunks).is_pending());
    shared.progress(json!(1));
    assert_eq!((progress.count(), chunks.count()), (1, 0));
    shared.chunk(1, json!(1));
    assert_eq!((progress.count(), chunks.count()), (1, 1));
}

#[test]
fn settlement_wakes_the_readers_of_both() {
    let (shared, handle) = command();
    let (progress, chunks) = (Wakes::new(), Wakes::new());
    let (mut progress_stream, mut chunk_stream) = (handle.progress(), handle.chunks());
    assert!(poll_next(&mut progress_stream, &progress).is_pending());
    assert!(poll_next(&mut chunk_stream, &chunks).is_pending());
    completed(&shared, json!(null));
    assert_eq!((progress.count(), chunks.count()), (1, 1));
    assert_eq!(
        poll_next(&mut progress_stream, &progress),
        Poll::Ready(None)
    );
    assert_eq!(poll_next(&mut chunk_stream, &chunks), Poll::Ready(None));
}

#[test]
fn dropped_streams_are_not_woken() {
    let (shared, handle) = command();
    let wakes = Wakes::new();
    let (mut progress, mut chunks) = (handle.progress(), handle.chunks());
    assert!(poll_next(&mut progress, &wakes).is_pending());
    assert!(poll_next(&mut chunks, &wakes).is_pending());
    drop((progress, chunks));
    shared.progress(json!(1));
    shared.chunk(1, json!(1));
    completed(&shared, json!(null));
    assert_eq!(wakes.count(), 0);
}

#[test]
fn every_reader_gets_all_chunks_from_the_first() {
    let (shared, handle) = command();
    let mut early = handle.chunks();
    shared.chunk(1, json!("a"));
    assert_eq!(values(&read(&mut early).0), [json!("a")]);
    shared.chunk(1, json!("b"));
    let mut late = handle.chunks();
    assert_eq!(values(&read(&mut late).0), [json!("a"), json!("b")]);
    completed(&shared, json!(null));
    shared.chunk(1, json!("c"));
    let (chunks, ended) = read(&mut early);
    assert_eq!((values(&chunks), ended), (vec![json!("b")], true));
    let (chunks, ended) = read(&mut handle.chunks());
    assert_eq!(
        (values(&chunks), ended),
        (vec![json!("a"), json!("b")], true)
    );
}

#[test]
fn a_retry_adds_to_the_chunks_of_the_attempt_before() {
    let (shared, handle) = command();
    shared.chunk(1, json!("a"));
    shared.chunk(1, json!("b"));
    shared.set_status(CommandStatus::Delayed);
    shared.chunk(2, json!("a"));
    completed(&shared, json!(null));
    let (chunks, _) = read(&mut handle.chunks());
    let places: Vec<_> = chunks
        .iter()
        .map(|chunk| (chunk.attempt, chunk.index, chunk.missed))
        .collect();
    assert_eq!(places, [(1, 0, 0), (1, 1, 0), (2, 2, 0)]);
}

#[test]
fn no_more_than_the_newest_1024_chunks_are_kept() {
    let (shared, handle) = command();
    let mut early = handle.chunks();
    let all = MAX_CHUNKS as u64 + 3;
    for number in 0..all - 3 {
        shared.chunk(1, json!(number));
    }
    assert_eq!(
        read(&mut handle.chunks()).0.len(),
        1_024,
        "all are still there"
    );
    assert!(
        matches!(poll_next(&mut early, &Wakes::new()), Poll::Ready(Some(chunk)) if chunk.index == 0)
    );
    for number in all - 3..all {
        shared.chunk(1, json!(number));
    }
    // The early reader has the first chunk and missed two; the late one missed three.
    for (stream, missed) in [(&mut early, 2), (&mut handle.chunks(), 3)] {
        assert_eq!(stream.missed(), 0);
        let (chunks, _) = read(stream);
        assert_eq!(chunks.len(), MAX_CHUNKS);
        assert_eq!((chunks[0].index, chunks[0].missed), (3, missed));
        assert_eq!(chunks[0].value, json!(3));
        assert!(chunks[1..].iter().all(|chunk| chunk.missed == 0));
        assert_eq!(stream.missed(), missed);
    }
    shared.chunk(1, json!("on"));
    let (chunks, _) = read(&mut early);
    assert_eq!((chunks.len(), chunks[0].missed), (1, 0));
    assert_eq!(early.missed(), 2);
}

#[test]
fn no_more_than_a_mebibyte_of_chunks_is_kept() {
    let (shared, handle) = command();
    // Quotes are two more.
    let quarter = "x".repeat(MAX_BYTES / 4 - 2);
    for _ in 0..4 {
        shared.chunk(1, json!(quarter));
    }
    assert_eq!(read(&mut handle.chunks()).0.len(), 4, "exactly full");
    shared.chunk(1, json!(""));
    let (chunks, _) = read(&mut handle.chunks());
    assert_eq!((chunks.len(), chunks[0].missed), (4, 1));
    // What is dropped makes room again.
    shared.chunk(1, json!("x".repeat(MAX_BYTES / 4 - 4)));
    let (chunks, _) = read(&mut handle.chunks());
    assert_eq!((chunks.len(), chunks[0].missed), (5, 1));
}

#[test]
fn the_newest_chunk_is_kept_whatever_its_size() {
    let (shared, handle) = command();
    shared.chunk(1, json!("small"));
    shared.chunk(1, json!("x".repeat(2 * MAX_BYTES)));
    let (chunks, _) = read(&mut handle.chunks());
    assert_eq!((chunks.len(), chunks[0].index, chunks[0].missed), (1, 1, 1));
    shared.chunk(1, json!("small"));
    shared.chunk(1, json!("again"));
    let (chunks, _) = read(&mut handle.chunks());
    assert_eq!(values(&chunks), [json!("small"), json!("again")]);
    assert_eq!(chunks[0].missed, 2);
}

#[test]
fn a_chunk_is_written_with_its_place() {
    let (shared, handle) = command();
    shared.chunk(3, json!("a"));
    let (chunks, _) = read(&mut handle.chunks());
    assert_eq!(
        serde_json::to_value(&chunks[0]).expect("plain data"),
        json!({"attempt": 3, "index": 0, "missed": 0, "value": "a"})
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_on_other_threads_miss_no_chunk_and_see_the_end() {
    const CHUNKS: u64 = 500;
    let (shared, handle) = command();
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (mut chunks, mut progress) = (handle.chunks(), handle.progress());
            tokio::spawn(async move {
                let mut indexes = Vec::new();
                while let Some(chunk) = chunks.recv().await {
                    indexes.push(chunk.index);
                }
                let mut last = None;
                while let Some(value) = progress.recv().await {
                    last = Some(value);
                }
                (indexes, last)
            })
        })
        .collect();
    for number in 0..CHUNKS {
        shared.chunk(1, json!(number));
        shared.progress(json!(number));
        if number % 16 == 0 {
            tokio::task::yield_now().await;
        }
    }
    completed(&shared, json!(null));
    for reader in readers {
        let (indexes, last) = reader.await.expect("a reader does not panic");
        assert!(indexes.into_iter().eq(0..CHUNKS));
        assert_eq!(last, Some(json!(CHUNKS - 1)));
    }
}

#[tokio::test]
async fn a_dropped_recv_loses_nothing() {
    let (shared, handle) = command();
    let mut stream = handle.chunks();
    {
        let mut waiting = pin!(stream.recv());
        let pending = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await;
        assert!(pending);
        shared.chunk(1, json!("a"));
    }
    let chunk = stream.recv().await.expect("it has not settled");
    assert_eq!((chunk.index, chunk.value), (0, json!("a")));
}

#[tokio::test]
async fn a_reader_of_endless_reports_lets_other_tasks_run() {
    let (shared, handle) = command();
    let (mut progress, mut chunks) = (handle.progress(), handle.chunks());
    let settle_both = tokio::spawn({
        let shared = shared.clone();
        async move { completed(&shared, json!(null)) }
    });
    // Always something to read: only the budget of a task makes this one give way on its one thread.
    for _ in 0..5_000 {
        shared.progress(json!("busy"));
        shared.chunk(1, json!("busy"));
        if progress.recv().await.is_none() {
            break;
        }
        if chunks.recv().await.is_none() {
            break;
        }
    }
    assert_eq!(handle.status(), CommandStatus::Completed);
    settle_both.await.expect("it settled the command");
}
