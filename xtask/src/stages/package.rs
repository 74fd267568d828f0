//! The crates as they would be uploaded.

use anyhow::{Context, Result, bail};

use crate::command::Run;
use crate::house::House;

const CORE: &str = "a3s-lane";
const PROGRAM: &str = "a3s-lane-cli";

/// The packed crate, unpacked where the workspace cannot help it, runs the quick start of the documentation. Both crates have
/// their licence with them.
pub(super) fn rust(house: &House) -> Result<()> {
    for package in [CORE, PROGRAM] {
        let held = house
            .cargo()
            .args(["package", "--list", "--locked", "--allow-dirty"])
            .args(["--package", package])
            .read()?;
        if !held.lines().any(|file| file == "LICENSE") {
            bail!("the crate {package} would be uploaded without LICENSE");
        }
    }
    let version = &house.metadata.member(CORE)?.version;
    house
        .cargo()
        // What does not compile shows below, in a project of its own.
        .args([
            "package",
            "--locked",
            "--no-verify",
            "--allow-dirty",
            "--package",
            CORE,
        ])
        .run()?;
    let dir = house.empty_dir("crate")?;
    Run::new("tar")
        .arg("-xzf")
        .arg(house.target.join(format!("package/{CORE}-{version}.crate")))
        .dir(&dir)
        .run()?;
    std::fs::create_dir(dir.join("src"))?;
    let program = house.root.join("xtask/smoke/quick_start.rs");
    std::fs::copy(&program, dir.join("src/main.rs")).context("copy the quick start")?;
    std::fs::write(dir.join("Cargo.toml"), manifest(version))?;
    // The versions of this checkout: no other download, and what is already compiled counts.
    std::fs::copy(house.root.join("Cargo.lock"), dir.join("Cargo.lock"))?;
    Run::cargo()
        .args(["run", "--quiet"])
        .env("CARGO_TARGET_DIR", &house.target)
        .dir(&dir)
        .run()
}

/// The dependencies that the quick start tells users to write, with the crate from this folder.
fn manifest(version: &str) -> String {
    format!(
        r#"[package]
name = "quick-start"
edition = "2024"

[dependencies]
a3s-lane = {{ path = "{CORE}-{version}" }}
async-trait = "0.1"
serde_json = "1"
tokio = {{ version = "1", features = ["full"] }}

[profile.dev]
debug = "line-tables-only"

[profile.dev.package."*"]
debug = false

[workspace]
"#
    )
}
