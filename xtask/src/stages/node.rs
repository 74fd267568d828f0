//! The Node package: the addon is built once, then tested in the tree and as packed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::Run;
use crate::house::House;
use crate::nodes::{self, Node};

pub(super) fn tests(house: &House) -> Result<()> {
    addon(house)?;
    for node in nodes::oldest_and_newest(house)? {
        println!("Node.js {}", node.version);
        Run::new(&node.path)
            .arg("npm/tests/run.js")
            .dir(&house.root)
            .run()?;
    }
    Ok(())
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
        .run()
}

/// The tarballs, installed where nothing else is, run the quick start as CommonJS and as an ES module.
pub(super) fn pack(house: &House) -> Result<()> {
    let dir = packed(house)?;
    for node in nodes::oldest_and_newest(house)? {
        for name in ["quick_start.cjs", "quick_start.mjs"] {
            run_in(dir, &node, &house.root.join("xtask/smoke").join(name))?;
        }
    }
    Ok(())
}

/// Runs a program from inside the folder in which the package is installed.
pub(super) fn run_in(dir: &Path, node: &Node, program: &Path) -> Result<()> {
    let name = program.file_name().context("a program has a name")?;
    let copy = dir.join(name);
    std::fs::copy(program, &copy)?;
    println!("Node.js {}", node.version);
    Run::new(&node.path).arg(copy).dir(dir).run()
}

/// The folder in which the packed tarballs are installed.
pub(super) fn packed(house: &House) -> Result<&Path> {
    if house.packed.get().is_none() {
        let dir = install_tarballs(house)?;
        let _ = house.packed.set(dir);
    }
    house
        .packed
        .get()
        .map(PathBuf::as_path)
        .context("the package was not packed")
}

fn install_tarballs(house: &House) -> Result<PathBuf> {
    addon(house)?;
    let tarballs = house.empty_dir("tarballs")?;
    let platform = stage_platform(house)?;
    for source in [&house.root, &platform] {
        Run::npm()
            .args(["pack", "--silent", "--pack-destination"])
            .arg(&tarballs)
            .dir(source)
            .run()?;
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(&tarballs)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    if files.len() != 2 {
        bail!("npm pack left {} tarballs, not two", files.len());
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
        .dir(&dir)
        .run()?;
    Ok(dir)
}

/// A copy of this platform's package with the addon in it.
fn stage_platform(house: &House) -> Result<PathBuf> {
    let newest = nodes::newest(house)?;
    let binary = addon_file(&house.root.join("npm"))?;
    let name = binary
        .file_name()
        .context("the addon has a name")?
        .to_owned();
    let suffix = name
        .to_str()
        .and_then(|name| name.strip_prefix("a3s-lane.")?.strip_suffix(".node"))
        .with_context(|| format!("{} is not named after a platform", binary.display()))?
        .to_owned();
    println!(
        "packing {suffix}, built for Node.js {} and older",
        newest.version
    );
    let dir = house.empty_dir("platform")?;
    for file in ["package.json", "README.md"] {
        let source = house.root.join("npm/platforms").join(&suffix).join(file);
        std::fs::copy(&source, dir.join(file))
            .with_context(|| format!("copy {}", source.display()))?;
    }
    std::fs::copy(&binary, dir.join(name))?;
    Ok(dir)
}

fn addon_file(dir: &Path) -> Result<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    found.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "node")
    });
    match found.as_slice() {
        [file] => Ok(file.clone()),
        _ => bail!("{} holds {} addons, not one", dir.display(), found.len()),
    }
}

/// The release build of the addon, in npm/.
fn addon(house: &House) -> Result<()> {
    if house.addon.get().is_some() {
        return Ok(());
    }
    install_tools(house)?;
    Run::npm()
        .args(["run", "--silent", "build:release"])
        .dir(&house.root)
        .run()?;
    let _ = house.addon.set(());
    Ok(())
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
