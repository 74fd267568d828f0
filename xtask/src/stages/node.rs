//! The Node package: the addon is built once, then tested in the tree and as packed.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::command::Run;
use crate::house::House;
use crate::nodes;
use crate::side_by_side::side_by_side;

/// On the oldest and the newest Node.js, side by side.
pub(super) fn tests(house: &House) -> Result<()> {
    addon(house)?;
    let runs = nodes::oldest_and_newest(house)?
        .iter()
        .map(|node| {
            let run = Run::new(&node.path)
                .arg("npm/tests/run.js")
                .dir(&house.root);
            (format!("Node.js {}", node.version), Ok(run))
        })
        .collect();
    side_by_side(&house.work, runs)
}

pub(super) fn types(house: &House) -> Result<()> {
    addon(house)?;
    Run::npm()
        .args(["run", "--silent", "types"])
        .dir(&house.root)
        .run()?;
    Run::npm()
        .args(["run", "--silent", "platforms", "--", "--check"])
        .dir(&house.root)
        .run()?;
    Run::npm()
        .args(["run", "--silent", "reference", "--", "--check"])
        .dir(&house.root)
        .run()
}

/// Programs that the tarballs must run where nothing else is installed, as CommonJS and as ES modules.
const SMOKE: [&str; 3] = ["quick_start.cjs", "quick_start.mjs", "handlers.mjs"];

/// The tarballs, installed where nothing else is, run the quick start and the recipes on every Node.js, and programs on other
/// runtimes.
pub(super) fn pack(house: &House) -> Result<()> {
    let dir = install_tarballs(house)?;
    for name in SMOKE {
        // A program finds packages from where it stands.
        std::fs::copy(house.root.join("xtask/smoke").join(name), dir.join(name))?;
    }
    for node in nodes::all(house)? {
        println!("Node.js {}", node.version);
        for name in SMOKE {
            Run::new(&node.path).arg(name).dir(&dir).run()?;
        }
        Run::new(&node.path)
            .arg("npm/tests/snippets.js")
            .arg(&dir)
            .arg("docs/node-recipes.md")
            .dir(&house.root)
            .run()?;
    }
    for (runtime, path) in nodes::others(house) {
        let args: &[&str] = match runtime {
            "deno" => &["run", "--allow-all"],
            _ => &["run"],
        };
        for name in SMOKE {
            Run::new(&path).args(args).arg(name).dir(&dir).run()?;
        }
    }
    Ok(())
}

/// What the recipes need besides our package, in the version that the tests in the tree have.
fn express(house: &House) -> Result<String> {
    let manifest = std::fs::read_to_string(house.root.join("package.json"))?;
    let version = manifest
        .split_once("\"express\": \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(version, _)| version)
        .context("package.json names no version of express")?;
    Ok(format!("express@{version}"))
}

fn install_tarballs(house: &House) -> Result<PathBuf> {
    addon(house)?;
    let tarballs = house.empty_dir("tarballs")?;
    Run::new("node")
        .arg("npm/scripts/pack.js")
        .arg(&tarballs)
        .dir(&house.root)
        .run()?;
    let mut files: Vec<PathBuf> = std::fs::read_dir(&tarballs)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    if files.len() != 2 {
        bail!("npm/scripts/pack.js left {} tarballs, not two", files.len());
    }
    let dir = house.empty_dir("node-empty")?;
    std::fs::write(dir.join("package.json"), "{ \"private\": true }\n")?;
    Run::npm()
        // The packages for the other platforms are optional, and on the registry only after a release.
        .args([
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--omit=optional",
        ])
        .args(&files)
        .arg(express(house)?)
        .dir(&dir)
        .run()?;
    Ok(dir)
}

/// The release build of the addon, in npm/.
fn addon(house: &House) -> Result<()> {
    house.addon.get(|| build(house)).copied()
}

fn build(house: &House) -> Result<()> {
    install_tools(house)?;
    let before = generated(house)?;
    Run::npm()
        .args(["run", "--silent", "build:release"])
        .dir(&house.root)
        .run()?;
    for ((file, old), new) in GENERATED.iter().zip(before).zip(generated(house)?) {
        if old != new {
            bail!("{file} was out of date: commit what the build has written there");
        }
    }
    Ok(())
}

/// What the build writes and git keeps.
const GENERATED: [&str; 2] = ["npm/native.js", "npm/native.d.ts"];

fn generated(house: &House) -> Result<Vec<String>> {
    GENERATED
        .iter()
        .map(|file| {
            std::fs::read_to_string(house.root.join(file)).with_context(|| format!("read {file}"))
        })
        .collect()
}

/// `npm ci`, unless node_modules is what the lock file says.
fn install_tools(house: &House) -> Result<()> {
    let stamp = house.work.join("package-lock.stamp");
    let lock = std::fs::read_to_string(house.root.join("package-lock.json"))
        .context("package-lock.json is missing")?;
    if house.has("node_modules") && std::fs::read_to_string(&stamp).is_ok_and(|made| made == lock) {
        return Ok(());
    }
    Run::npm()
        .args(["ci", "--no-audit", "--no-fund"])
        .dir(&house.root)
        .run()
        .context("install the npm tools (needs a network the first time)")?;
    std::fs::write(stamp, lock)?;
    Ok(())
}
