//! A disk that is full, of which there is one where a file system can be mounted.

use std::path::PathBuf;
use std::process::Command;

use super::*;

/// A small file system in memory.
pub(crate) struct Disk {
    pub(crate) path: PathBuf,
    _place: tempfile::TempDir,
    /// What runs a program as root; empty where this process is root.
    by: &'static [&'static str],
}

fn run(by: &[&str], words: &[&str], path: &Path) -> std::io::Result<std::process::Output> {
    let words = [by, words].concat();
    Command::new(words[0]).args(&words[1..]).arg(path).output()
}

impl Disk {
    /// `size` as `mount` takes it. `None` where nothing can be mounted: it takes root, which a hosted CI has by `sudo`.
    pub(crate) fn mount(size: &str) -> Option<Self> {
        let place = tempfile::tempdir().expect("a temporary directory");
        let path = place.path().join("disk");
        std::fs::create_dir(&path).expect("made");
        let options = format!("size={size},mode=777");
        let words = ["mount", "-t", "tmpfs", "-o", &options, "tmpfs"];
        let ways: &[&'static [&'static str]] = match std::env::var_os("CI") {
            Some(_) => &[&[], &["sudo", "-n"]],
            None => &[&[]],
        };
        for by in ways {
            match run(by, &words, &path) {
                Ok(output) if output.status.success() => {
                    return Some(Self {
                        path,
                        _place: place,
                        by,
                    });
                }
                other => println!("a file system cannot be mounted here: {other:?}"),
            }
        }
        skip("a file system cannot be mounted");
        None
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    /// Takes all the space but so many bytes.
    pub(crate) fn fill_but(&self, bytes: u64) {
        let mut file = std::fs::File::create(self.filler()).expect("created");
        let mut taken = 0;
        while let Ok(written @ 1..) = file.write(&[1; 4096]) {
            taken += written as u64;
        }
        let taken = taken.saturating_sub(bytes);
        file.set_len(taken).expect("it gets smaller");
    }

    pub(crate) fn free(&self) {
        std::fs::remove_file(self.filler()).expect("removed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run(self.by, &["umount", "-l"], &self.path);
    }
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_nothing_acknowledged_is_lost() {
    let Some(disk) = Disk::mount("1m") else {
        return;
    };
    let directory = disk.path.join("store");
    let storage = open(&directory).await;
    let mut kept = Vec::new();
    for id in ["before", "started"] {
        storage
            .save_commands(vec![record(id)])
            .await
            .expect("saved");
        kept.push(id.to_owned());
    }
    storage.start_command("started", 1).await.expect("noted");
    disk.fill_but(0);
    let mut failed = 0;
    for number in 0..200 {
        let mut record = record(number);
        record.command.payload = json!("x".repeat(3000));
        match storage.save_commands(vec![record]).await {
            Ok(()) => kept.push(number.to_string()),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("lanes.db: the disk is full"), "{text}");
                failed += 1;
            }
        }
    }
    assert!(failed > 100, "{failed} have failed");
    assert_eq!(pending(&storage).await, kept);
    close(storage, &directory);
    // Without space it opens, or says why not.
    match LocalStorage::new(directory.clone()).await {
        Ok(storage) => {
            assert_eq!(pending(&storage).await, kept);
            close(storage, &directory);
        }
        Err(error) => assert!(error.to_string().contains("lanes.db"), "{error}"),
    }
    disk.free();
    let storage = open(&directory).await;
    assert_eq!(pending(&storage).await, kept);
    let started = storage.load_command("started").await.expect("readable");
    assert_eq!(started.expect("kept").crashes, 1);
    storage
        .save_commands(vec![record("after")])
        .await
        .expect("there is space");
    close(storage, &directory);
}
