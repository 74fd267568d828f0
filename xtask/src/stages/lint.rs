//! What must hold before a test is worth running.

use anyhow::{Result, bail};

use crate::command::Run;
use crate::features::power_set;
use crate::house::House;
use crate::pythons;
use crate::venv::Venv;

const BENCH: &str = "bench/Cargo.toml";

pub(super) fn format(house: &House) -> Result<()> {
    for manifest in ["Cargo.toml", BENCH] {
        house
            .cargo()
            .hint("rustup component add rustfmt")
            .args(["fmt", "--all", "--check", "--manifest-path", manifest])
            .run()?;
    }
    Ok(())
}

pub(super) fn spelling(house: &House) -> Result<()> {
    Run::new(tools(house)?.tool("typos")).dir(&house.root).run()
}

pub(super) fn clippy(house: &House) -> Result<()> {
    house
        .cargo()
        .args([
            "clippy",
            "--locked",
            "--workspace",
            "--all-targets",
            "--all-features",
        ])
        .args(["--", "-D", "warnings"])
        .run()
}

/// The benchmarks compile against the crate as it is; they stand outside the workspace.
pub(super) fn bench(house: &House) -> Result<()> {
    house
        .cargo()
        .args([
            "clippy",
            "--locked",
            "--all-targets",
            "--manifest-path",
            BENCH,
            "--target-dir",
        ])
        .arg(&house.target)
        .args(["--", "-D", "warnings"])
        .run()
}

/// One by one: the program and the library have the same name, and the library's pages are to stay.
pub(super) fn rustdoc(house: &House) -> Result<()> {
    for package in ["a3s-lane-cli", "a3s-lane"] {
        house
            .cargo()
            .env("RUSTDOCFLAGS", "-D warnings")
            .args([
                "doc",
                "--locked",
                "--no-deps",
                "--all-features",
                "--package",
                package,
            ])
            .run()?;
    }
    Ok(())
}

/// What `cargo hack --feature-powerset` does, once for each set that differs.
pub(super) fn features(house: &House) -> Result<()> {
    for package in house
        .metadata
        .members()
        .filter(|package| !package.features.is_empty())
    {
        let sets = power_set(&package.features);
        for (index, set) in sets.iter().enumerate() {
            let list: Vec<&str> = set.iter().map(String::as_str).collect();
            println!("{} {}/{}: {list:?}", package.name, index + 1, sets.len());
            house
                .cargo()
                .args(["clippy", "--locked", "--quiet", "--package", &package.name])
                .args(["--no-default-features", "--features", &list.join(",")])
                .args(["--", "-D", "warnings"])
                .run()?;
        }
    }
    Ok(())
}

/// Compiles on the declared version where it is installed. Without it, at least no dependency may ask for a newer one;
/// clippy's `incompatible_msrv` looks at our own code.
pub(super) fn rust_version(house: &House) -> Result<()> {
    let declared = house
        .metadata
        .member("a3s-lane")?
        .rust_version
        .clone()
        .unwrap_or_default();
    let limit = numbers(&declared);
    let mut newer = house.metadata.packages.iter().filter(|package| {
        package
            .rust_version
            .as_deref()
            .is_some_and(|version| numbers(version) > limit)
    });
    if let Some(package) = newer.next() {
        bail!(
            "{} {} needs Rust {}, the workspace declares {declared}",
            package.name,
            package.version,
            package.rust_version.as_deref().unwrap_or_default()
        );
    }
    println!(
        "none of {} packages needs more than Rust {declared}",
        house.metadata.packages.len()
    );
    if Run::new("rustup")
        .args(["run", &declared, "rustc", "--version"])
        .probe()
        .is_none()
    {
        println!("Rust {declared} is not installed here: nothing was compiled with it");
        return Ok(());
    }
    Run::new("rustup")
        .args([
            "run",
            &declared,
            "cargo",
            "check",
            "--locked",
            "--workspace",
            "--all-features",
        ])
        .env("CARGO_TARGET_DIR", house.target.join("rust-version"))
        .dir(&house.root)
        .run()
}

/// Advisories come from a database that has to be fetched: the CI workflow checks them.
pub(super) fn dependencies(house: &House) -> Result<()> {
    Run::new(tools(house)?.tool("cargo-deny"))
        .args([
            "--all-features",
            "--locked",
            "check",
            "--hide-inclusion-graph",
        ])
        .args(["bans", "licenses", "sources"])
        .dir(&house.root)
        .run()
}

pub(super) fn workflows(house: &House) -> Result<()> {
    Run::new(tools(house)?.tool("zizmor"))
        .args([
            "--offline",
            "--strict-collection",
            "--persona",
            "pedantic",
            ".github",
        ])
        .dir(&house.root)
        .run()
}

fn tools(house: &House) -> Result<Venv> {
    Venv::with(house, "lint", &pythons::newest()?, "lint")
}

/// The parts of a version, for comparison: "1.89" is older than "1.89.1".
fn numbers(version: &str) -> Vec<u32> {
    let mut parts: Vec<u32> = version
        .split('.')
        .map(|part| part.parse().unwrap_or(0))
        .collect();
    parts.resize(3, 0);
    parts
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn versions_compare_by_number() {
        assert!(numbers("1.9") < numbers("1.89"));
        assert!(numbers("1.89") < numbers("1.89.1"));
        assert_eq!(numbers("1.89"), numbers("1.89.0"));
    }
}
