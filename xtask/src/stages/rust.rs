//! The Rust tests.

use anyhow::{Result, bail};

use crate::command::Run;
use crate::features::closure;
use crate::house::House;

const CORE: &str = "a3s-lane";

/// The Python binding has no Rust tests: its tests are in python/tests.
pub(super) fn default(house: &House) -> Result<()> {
    let members = house
        .metadata
        .members()
        .map(|package| package.name.as_str());
    let tested = members.filter(|name| *name != "a3s-lane-python");
    runner(house)
        .args(tested.flat_map(|name| ["--package", name]))
        .run()
}

pub(super) fn minimal(house: &House) -> Result<()> {
    runner(house)
        .args(["--package", CORE, "--no-default-features"])
        .run()
}

pub(super) fn all(house: &House) -> Result<()> {
    let features = &house.metadata.member(CORE)?.features;
    let every = closure(features, features.keys().map(String::as_str));
    if closure(features, ["default"]) == every {
        println!("the default features are all features: rust-default has run these tests");
        return Ok(());
    }
    runner(house)
        .args(["--package", CORE, "--all-features"])
        .run()
}

pub(super) fn doc(house: &House) -> Result<()> {
    house
        .cargo()
        .args(["test", "--locked", "--doc", "--package", CORE])
        .run()
}

/// Explores the interleavings of the tokio shell. The cfg changes every crate, hence the target folder of its own.
pub(super) fn model(house: &House) -> Result<()> {
    let test = "crates/a3s-lane/tests/shuttle.rs";
    if !house.has(test) {
        bail!("{test} is missing: it holds the model-checked tests");
    }
    house
        .cargo()
        .env("RUSTFLAGS", "--cfg shuttle")
        .env("CARGO_TARGET_DIR", house.target.join("shuttle"))
        .args([
            "test",
            "--locked",
            "--package",
            CORE,
            "--no-default-features",
            "--test",
            "shuttle",
        ])
        .run()
}

/// Nextest where it is installed, else cargo's own runner.
fn runner(house: &House) -> Run {
    let cargo = house.cargo();
    if Run::cargo()
        .args(["nextest", "--version"])
        .probe()
        .is_some()
    {
        cargo.args(["nextest", "run", "--locked", "--no-fail-fast"])
    } else {
        cargo.args([
            "test",
            "--locked",
            "--no-fail-fast",
            "--lib",
            "--bins",
            "--tests",
        ])
    }
}
