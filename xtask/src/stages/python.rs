//! The Python package: built once, always tested as installed.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::command::Run;
use crate::house::House;
use crate::pythons::{self, Python};
use crate::side_by_side::side_by_side;
use crate::venv::Venv;

/// Says where the package was imported from.
const WHERE: &str = "import a3s_lane; print(a3s_lane.__file__)";

/// Pages whose examples run on every CPython.
const RECIPES: [&str; 2] = ["docs/python-handlers.md", "docs/python-recipes.md"];

/// On every CPython at hand the wheel installs into an empty environment and runs the quick start, under the documented name, and
/// then the recipes, in an environment that has nothing else but what they need.
pub(super) fn wheel(house: &House) -> Result<()> {
    for python in pythons::at_hand()? {
        let empty = Venv::empty(house, &format!("empty-{}", python.version), &python)?;
        empty.install(built(house)?)?;
        quick_start(house, &empty)?;
        let name = format!("recipes-{}", python.version);
        let venv = Venv::with(house, &name, &python, "recipes")?;
        venv.install(built(house)?)?;
        recipes(house, &venv)?;
    }
    Ok(())
}

fn quick_start(house: &House, venv: &Venv) -> Result<()> {
    let dir = house.empty_dir("python-quick-start")?;
    Run::new(venv.python())
        .arg(house.root.join("xtask/smoke/quick_start.py"))
        .dir(&dir)
        .run()
}

fn recipes(house: &House, venv: &Venv) -> Result<()> {
    let dir = house.empty_dir("python-recipes")?;
    Run::new(venv.python())
        .arg(house.root.join("xtask/smoke/recipes.py"))
        .args(RECIPES.map(|page| house.root.join(page)))
        .dir(&dir)
        .run()
}

/// On the oldest and the newest CPython, side by side.
pub(super) fn tests(house: &House) -> Result<()> {
    let runs = pythons::oldest_and_newest()?
        .iter()
        .map(|python| (format!("CPython {}", python.version), pytest(house, python)))
        .collect();
    side_by_side(&house.work, runs)
}

/// What runs the tests, after everything that they need is installed.
fn pytest(house: &House, python: &Python) -> Result<Run> {
    let venv = installed(house, python)?;
    let dir = house.empty_dir(&format!("python-tests-{}", python.version))?;
    Ok(Run::new(venv.python())
        .args(["-m", "pytest", "-p", "no:cacheprovider"])
        .args(["--timeout=120", "-c"])
        .arg(house.root.join("pyproject.toml"))
        .arg("--rootdir")
        .arg(&house.root)
        .arg(house.root.join("python/tests"))
        .dir(&dir))
}

/// An environment for the tests in which `a3s_lane` is the built wheel, and nothing else.
fn installed(house: &House, python: &Python) -> Result<Venv> {
    let venv = Venv::with(house, &format!("test-{}", python.version), python, "test")?;
    venv.install(built(house)?)?;
    let module = Run::new(venv.python())
        .args(["-c", WHERE])
        .dir(&house.empty_dir("python-where")?)
        .read()?;
    if !module.contains("site-packages") {
        bail!("a3s_lane is imported from {module}, not from the installed wheel");
    }
    Ok(venv)
}

/// The release wheel of this checkout.
fn built(house: &House) -> Result<&Path> {
    Ok(house.wheel.get(|| build(house))?)
}

fn build(house: &House) -> Result<PathBuf> {
    let python = pythons::newest()?;
    let tools = Venv::with(house, "build", &python, "build")?;
    let out = house.empty_dir("wheels")?;
    Run::new(tools.tool("maturin"))
        .args(["build", "--release", "--locked", "--interpreter"])
        .arg(&python.path)
        .arg("--out")
        .arg(&out)
        .dir(&house.root)
        .run()?;
    let wheels: Vec<PathBuf> = std::fs::read_dir(&out)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    match wheels.as_slice() {
        [wheel] => Ok(wheel.clone()),
        _ => bail!(
            "maturin left {} files in {}, not one wheel",
            wheels.len(),
            out.display()
        ),
    }
}
