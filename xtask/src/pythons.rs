//! Finds the CPythons of this machine.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::command::{Run, on_path};

/// The oldest minor version of CPython 3 that the wheel supports.
const OLDEST: u32 = 9;
/// How far to look for versions that do not exist yet.
const NEWEST: u32 = 30;

/// Prints "minor version" for a release of CPython that can make environments and load an abi3 module.
const QUESTION: &str = "\
import sys, sysconfig, venv, ensurepip
assert sys.implementation.name == 'cpython' and sys.version_info[0] == 3
assert sys.version_info.releaselevel == 'final'
assert not sysconfig.get_config_var('Py_GIL_DISABLED')
print(sys.version_info[1], '.'.join(map(str, sys.version_info[:3])))";

/// One CPython.
#[derive(Clone)]
pub(crate) struct Python {
    pub(crate) path: PathBuf,
    pub(crate) version: String,
    minor: u32,
}

/// The oldest and the newest CPython at hand, or the only one.
pub(crate) fn oldest_and_newest() -> Result<Vec<Python>> {
    let mut both = at_hand()?;
    both.drain(1..both.len().max(2) - 1);
    Ok(both)
}

pub(crate) fn newest() -> Result<Python> {
    at_hand()?.pop().context("no CPython at hand")
}

/// One CPython of each minor version, oldest first; never none.
pub(crate) fn at_hand() -> Result<Vec<Python>> {
    let mut found: Vec<Python> = candidates().into_iter().filter_map(ask).collect();
    // Stable: of two with one minor version the first candidate stays.
    found.sort_by_key(|python| python.minor);
    found.dedup_by_key(|python| python.minor);
    if found.is_empty() {
        bail!("no CPython 3.{OLDEST} or newer with `venv` and `ensurepip` on PATH: install one");
    }
    Ok(found)
}

/// Versions that pyenv keeps, then every python on PATH.
fn candidates() -> Vec<PathBuf> {
    let pyenv = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".pyenv")));
    let mut paths: Vec<PathBuf> = pyenv
        .and_then(|root| std::fs::read_dir(root.join("versions")).ok())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin").join("python"))
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    let suffix = std::env::consts::EXE_SUFFIX;
    let mut names: Vec<String> = (OLDEST..=NEWEST)
        .map(|minor| format!("python3.{minor}{suffix}"))
        .collect();
    names.extend([format!("python3{suffix}"), format!("python{suffix}")]);
    paths.extend(on_path(&names));
    paths
}

fn ask(path: PathBuf) -> Option<Python> {
    let answer = Run::new(&path).args(["-c", QUESTION]).probe()?;
    let (minor, version) = answer.split_once(' ')?;
    let minor: u32 = minor.parse().ok()?;
    (minor >= OLDEST).then(|| Python {
        path,
        version: version.to_owned(),
        minor,
    })
}
