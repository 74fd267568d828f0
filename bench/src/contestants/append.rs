//! The floor of what is stored: records appended to a file in groups, each group with one fsync. There is no queue.

use std::fs::File;
use std::io::Write;
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

/// As long as a stored command.
const RECORD: [u8; 160] = [b'x'; 160];

/// How many records share an fsync at most.
const GROUP: usize = 256;

/// A file and the thread that appends to it.
pub(crate) struct Append {
    records: Option<mpsc::Sender<oneshot::Sender<()>>>,
    thread: Option<JoinHandle<()>>,
}

impl Append {
    /// Appends to this file.
    pub(crate) fn to(mut file: File, fsync: bool) -> Self {
        let (records, waiting) = mpsc::channel::<oneshot::Sender<()>>();
        let thread = std::thread::spawn(move || {
            let mut group = Vec::with_capacity(GROUP);
            let mut bytes = Vec::with_capacity(GROUP * RECORD.len());
            while let Ok(first) = waiting.recv() {
                group.push(first);
                group.extend(waiting.try_iter().take(GROUP - 1));
                bytes.resize(group.len() * RECORD.len(), b'x');
                file.write_all(&bytes).expect("there is space");
                if fsync {
                    file.sync_data().expect("it can be synced");
                }
                for done in group.drain(..) {
                    let _ = done.send(());
                }
            }
        });
        Self {
            records: Some(records),
            thread: Some(thread),
        }
    }

    /// Appends one record, and returns when it is stored.
    pub(crate) async fn append(&self) {
        let (done, stored) = oneshot::channel();
        let records = self.records.as_ref().expect("open until dropped");
        records.send(done).expect("the thread lives");
        stored.await.expect("the thread lives");
    }
}

impl Drop for Append {
    fn drop(&mut self) {
        self.records = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
