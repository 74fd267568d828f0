//! Python environments under the work folder, made once and kept while their recipe stays the same.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::Run;
use crate::house::House;
use crate::pythons::Python;

/// A virtual environment.
pub(crate) struct Venv {
    dir: PathBuf,
}

impl Venv {
    /// The environment `name` with what `xtask/requirements/{requirements}.txt` lists.
    pub(crate) fn with(
        house: &House,
        name: &str,
        python: &Python,
        requirements: &str,
    ) -> Result<Self> {
        let dir = house.work.join("venv").join(name);
        let file = house
            .root
            .join(format!("xtask/requirements/{requirements}.txt"));
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let recipe = format!("{} {}\n{text}", python.path.display(), python.version);
        let stamp = dir.join("recipe.txt");
        let venv = Self { dir };
        if std::fs::read_to_string(&stamp).is_ok_and(|made| made == recipe) {
            return Ok(venv);
        }
        Run::new(&python.path)
            .args(["-m", "venv", "--clear"])
            .arg(&venv.dir)
            .run()?;
        Run::new(venv.python())
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            // Building a tool from its sources needs compilers that may not be there.
            .args(["--only-binary", ":all:", "-r"])
            .arg(&file)
            .run()
            .with_context(|| {
                format!(
                    "install {} (needs a network the first time)",
                    file.display()
                )
            })?;
        std::fs::write(stamp, recipe)?;
        Ok(venv)
    }

    /// A new environment with nothing but pip.
    pub(crate) fn empty(house: &House, name: &str, python: &Python) -> Result<Self> {
        let dir = house.work.join("venv").join(name);
        Run::new(&python.path)
            .args(["-m", "venv", "--clear"])
            .arg(&dir)
            .run()?;
        Ok(Self { dir })
    }

    /// Installs this wheel, in place of any other build of it.
    pub(crate) fn install(&self, wheel: &Path) -> Result<()> {
        Run::new(self.python())
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(["--force-reinstall", "--no-index"])
            .arg(wheel)
            .run()
    }

    pub(crate) fn python(&self) -> PathBuf {
        self.tool(if cfg!(windows) {
            "python.exe"
        } else {
            "python"
        })
    }

    /// A program that one of the packages brought.
    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        let bin = if cfg!(windows) { "Scripts" } else { "bin" };
        let suffix = if cfg!(windows) && !name.ends_with(".exe") {
            ".exe"
        } else {
            ""
        };
        self.dir.join(bin).join(format!("{name}{suffix}"))
    }
}
