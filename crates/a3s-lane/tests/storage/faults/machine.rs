//! What makes a storage fail: a small disk, and a library that is preloaded. The tests of the command line use it too.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A test cannot be made here; where none may be left out, that is a failure.
fn skip(why: &str) {
    let must = std::env::var_os("A3S_LANE_SKIP_NOTHING").is_some();
    assert!(!must, "{why}");
    println!("skipped: {why}");
}

/// Compiles what makes calls fail, unless it was before. All suites have it in the same place.
pub(crate) fn library() -> Option<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = package.join("../a3s-lane/tests/storage/faults/fail_calls.c");
    let target = package.join("../../target/faults");
    let library = target.join("fail_calls.so");
    let age = |path: &Path| {
        std::fs::metadata(path)
            .and_then(|found| found.modified())
            .ok()
    };
    if age(&library) > age(&source) {
        return Some(library);
    }
    std::fs::create_dir_all(&target).expect("made");
    // Others may compile it as well.
    let own = target.join(format!("fail_calls.{}.so", std::process::id()));
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&own, &source])
        .arg("-ldl")
        .status();
    match compiled {
        Ok(status) if status.success() => {
            std::fs::rename(own, &library).expect("renamed");
            Some(library)
        }
        other => {
            skip(&format!("no C compiler made {}: {other:?}", own.display()));
            None
        }
    }
}

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

    /// Lets nothing be written any more. No file may be open for writing.
    pub(crate) fn read_only(&self) {
        let remounted = run(self.by, &["mount", "-o", "remount,ro"], &self.path);
        let remounted = remounted.expect("mount runs");
        assert!(remounted.status.success(), "{remounted:?}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run(self.by, &["umount", "-l"], &self.path);
    }
}
