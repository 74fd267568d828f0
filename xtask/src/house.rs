//! Where things are: the root of the workspace and the folder that holds everything these tasks make.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

use crate::command::Run;

/// The workspace, and what the stages of one run share.
pub(crate) struct House {
    pub(crate) root: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
    /// Environments, wheels and tarballs; deleting it is always safe.
    pub(crate) work: PathBuf,
    pub(crate) metadata: Metadata,
    pub(crate) wheel: Once<PathBuf>,
    pub(crate) addon: Once<()>,
}

/// Something that several stages need: made when the first one asks. Its failure is theirs, without another try.
pub(crate) struct Once<T>(OnceCell<Result<T, String>>);

impl<T> Once<T> {
    pub(crate) fn get(&self, make: impl FnOnce() -> Result<T>) -> Result<&T> {
        let made = self
            .0
            .get_or_init(|| make().map_err(|error| format!("{error:#}")));
        made.as_ref().map_err(|text| anyhow!("{text}"))
    }
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(OnceCell::new())
    }
}

/// The part of `cargo metadata` that the stages read.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    workspace_members: Vec<String>,
    target_directory: PathBuf,
}

/// One package of the workspace or of its dependencies.
#[derive(Deserialize)]
pub(crate) struct Package {
    id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) rust_version: Option<String>,
    pub(crate) features: std::collections::BTreeMap<String, Vec<String>>,
}

impl House {
    pub(crate) fn open() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask stands in the root of the workspace")?
            .to_owned();
        let text = Run::cargo()
            .args([
                "metadata",
                "--format-version",
                "1",
                "--locked",
                "--all-features",
            ])
            .dir(&root)
            .read()?;
        let metadata: Metadata = serde_json::from_str(&text).context("read cargo metadata")?;
        let target = metadata.target_directory.clone();
        let work = target.join("xtask");
        std::fs::create_dir_all(&work)?;
        Ok(Self {
            root,
            target,
            work,
            metadata,
            wheel: Once::default(),
            addon: Once::default(),
        })
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    pub(crate) fn cargo(&self) -> Run {
        Run::cargo().dir(&self.root)
    }

    /// An empty folder of this name under the work folder.
    pub(crate) fn empty_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.work.join(name);
        if dir.exists() {
            std::fs::remove_dir_all(&dir).with_context(|| format!("empty {}", dir.display()))?;
        }
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }
}

impl Metadata {
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| self.workspace_members.contains(&package.id))
    }

    pub(crate) fn member(&self, name: &str) -> Result<&Package> {
        self.members()
            .find(|package| package.name == name)
            .with_context(|| format!("the workspace has no package {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_once_is_not_tried_again() {
        let once = Once::<()>::default();
        assert!(once.get(|| Err(anyhow!("no compiler"))).is_err());
        let second = once.get(|| Ok(())).expect_err("it failed before");
        assert_eq!(second.to_string(), "no compiler");
    }
}
