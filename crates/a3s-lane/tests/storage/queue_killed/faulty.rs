//! The same on a disk that is full, and where calls of the operating system fail: a submission is refused or it is kept.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::process::{Said, kill_one, restart};
use super::{Random, child};
use crate::faults::machine::{Disk, library};

/// Kills processes that `faulty` gives, compares after some with the disk mended, and returns how often they have refused.
fn play(
    kills: u64,
    directory: &Path,
    mut faulty: impl FnMut(&mut Random) -> Command,
    mend: impl Fn(),
) -> usize {
    let (kills, mut random) = Random::kills(kills);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut said = Said::default();
    let (mut acknowledged, mut settled, mut refusals) = (0, 0, 0);
    for round in 0..kills {
        let command = faulty(&mut random);
        let life = Duration::from_micros(random.below(30_000));
        kill_one(command, life, round % 5 == 0, &mut said);
        mend();
        if random.below(2) == 0 || round + 1 == kills {
            runtime.block_on(restart(directory, &said));
            acknowledged += said.acknowledged.len();
            settled += said.settled.len();
            refusals += said.refusals;
            said = Said::default();
        }
    }
    println!(
        "{kills} kills: {acknowledged} acknowledged, {refusals} refused, {settled} known to have settled"
    );
    assert!(kills < 50 || settled > 0, "nothing has ever settled");
    refusals
}

#[test]
#[cfg_attr(not(unix), ignore = "an exit code cannot be told from a kill")]
fn i8_durable_ack_on_a_full_disk() {
    let Some(disk) = Disk::mount("8m") else {
        return;
    };
    let directory = disk.path.join("store");
    let faulty = |random: &mut Random| {
        // At first some more fit on it.
        disk.fill_but(random.below(400) * 1024);
        child::command("faulty queue", &directory)
    };
    let refusals = play(500, &directory, faulty, || disk.free());
    assert!(refusals > 0, "the disk was never full");
}

#[test]
#[cfg_attr(
    not(target_os = "linux"),
    ignore = "calls are made to fail by LD_PRELOAD"
)]
fn i8_durable_ack_with_io_errors() {
    let Some(library) = library() else {
        return;
    };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (eio, enospc) = (5, 28);
    let faulty = |random: &mut Random| {
        let errno = [eio, enospc][random.below(2) as usize];
        // A few calls, or all from then on.
        let count = [1, 3, 30, i64::MAX / 2][random.below(4) as usize];
        let mut command = child::command("faulty queue", directory.path());
        command
            .env("LD_PRELOAD", &library)
            .env("FAIL_AT", (1 + random.below(200)).to_string())
            .env("FAIL_COUNT", count.to_string())
            .env("FAIL_ERRNO", errno.to_string());
        command
    };
    let refusals = play(500, directory.path(), faulty, || {});
    assert!(refusals > 0, "no call has failed");
}
