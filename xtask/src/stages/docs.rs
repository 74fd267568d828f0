//! What the pages show must run as they show it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::house::House;

/// Who runs the code blocks of a language, and how that file names a page.
struct Runner {
    language: &'static str,
    file: &'static str,
    names: fn(&str) -> String,
}

const RUNNERS: [Runner; 3] = [
    Runner {
        language: "rust",
        file: "crates/a3s-lane/src/lib.rs",
        names: |page| format!("include_str!(\"../../../{page}\")"),
    },
    Runner {
        language: "python",
        file: "python/tests/test_docs.py",
        // Joined with `/` in a pathlib expression.
        names: |page| format!("\"{}\"", page.replace('/', "\" / \"")),
    },
    Runner {
        language: "js",
        file: "npm/tests/docs.test.js",
        names: |page| format!("'{page}'"),
    },
];

/// A page with code must be one of those that the tests of its language run.
pub(super) fn pages(house: &House) -> Result<()> {
    let mut missing = Vec::new();
    for runner in &RUNNERS {
        let tests = house.root.join(runner.file);
        let tests =
            std::fs::read_to_string(&tests).with_context(|| format!("read {}", runner.file))?;
        for page in all_pages(&house.root)? {
            let text = std::fs::read_to_string(&page)?;
            if !text.lines().any(|line| opens(line, runner.language)) {
                continue;
            }
            let relative = page
                .strip_prefix(&house.root)?
                .to_string_lossy()
                .replace('\\', "/");
            let name = (runner.names)(&relative);
            if tests.contains(&name) {
                println!("{} runs {relative}", runner.file);
            } else {
                missing.push(format!(
                    "{relative} has {} code, but {} has no {name}",
                    runner.language, runner.file
                ));
            }
        }
    }
    if !missing.is_empty() {
        bail!("{}", missing.join("; "));
    }
    Ok(())
}

/// Whether this line begins a block in this language: "```rust,no_run" does, "```rusty" does not.
fn opens(line: &str, language: &str) -> bool {
    line.strip_prefix("```")
        .and_then(|info| info.strip_prefix(language))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([',', ' ']))
}

/// README.md and every page under docs/.
fn all_pages(root: &Path) -> Result<Vec<PathBuf>> {
    let mut pages = vec![root.join("README.md")];
    let mut open = vec![root.join("docs")];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).with_context(|| format!("read {}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    Ok(pages)
}

const MAP: &str = "ARCHITECTURE.md";
const SCHEDULER: &str = "crates/a3s-lane/src/scheduler";
/// By so many lines a file may be longer or shorter than the table says.
const ROUNDED: usize = 10;

/// The scheduler is read file by file: its folder holds those of the table in its head and no others, and each of its folders is in
/// the map.
pub(super) fn map(house: &House) -> Result<()> {
    let scheduler = house.root.join(SCHEDULER);
    let head = std::fs::read_to_string(scheduler.join("mod.rs"))?;
    let map = std::fs::read_to_string(house.root.join(MAP))?;
    let (mut files, mut missing) = (BTreeMap::new(), Vec::new());
    for entry in std::fs::read_dir(&scheduler)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if path.is_file() {
            let lines = std::fs::read_to_string(&path)?.lines().count();
            files.insert(name.into_owned(), lines);
        } else if !map.contains(&format!("`scheduler/{name}/`")) {
            missing.push(format!("{MAP} has no row for scheduler/{name}/"));
        }
    }
    for (name, said) in head.lines().filter_map(row) {
        match files.remove(name) {
            None => missing.push(format!("{SCHEDULER} has no {name}.rs")),
            Some(lines) if lines.abs_diff(said) > ROUNDED => {
                missing.push(format!("{name}.rs has {lines} lines, not {said}"));
            }
            Some(_) => println!("{name}.rs is to be read"),
        }
    }
    for name in files.into_keys() {
        missing.push(format!(
            "{name}.rs is not in the table of {SCHEDULER}/mod.rs"
        ));
    }
    if !missing.is_empty() {
        bail!("{}", missing.join("; "));
    }
    Ok(())
}

/// What a row of the table says: which file, and how many lines it has. Other tables have no number there.
fn row(line: &str) -> Option<(&str, usize)> {
    let mut cells = line.strip_prefix("//! | ")?.split(" | ");
    let (name, lines) = (cells.next()?, cells.next()?.parse().ok()?);
    let name = if name == "this one" { "mod" } else { name };
    Some((name.trim_matches('`'), lines))
}

/// The command that the README shows first: it succeeds, and every command of the session has a result.
pub(super) fn first_command(house: &House) -> Result<()> {
    if cfg!(windows) {
        println!("the session needs a POSIX shell: not run on Windows");
        return Ok(());
    }
    let session = "examples/session.jsonl";
    let results = house.empty_dir("first-command")?.join("results.jsonl");
    house
        .cargo()
        .args([
            "run",
            "--release",
            "--locked",
            "--",
            "run",
            session,
            "--output",
        ])
        .arg(&results)
        .run()?;
    let session = std::fs::read_to_string(house.root.join(session))?;
    let commands = session
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .count();
    let settled = std::fs::read_to_string(&results)?.lines().count();
    if settled != commands {
        bail!("{settled} results of {commands} commands");
    }
    println!("{settled} commands settled as the session expects");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{opens, row};

    #[test]
    fn a_row_has_a_file_and_its_lines() {
        assert_eq!(
            row("//! | `ready` | 240 | which lane |"),
            Some(("ready", 240))
        );
        assert_eq!(row("//! | this one | 180 | words |"), Some(("mod", 180)));
        assert_eq!(row("//! | `front` | the one in it |"), None);
        assert_eq!(row("//! |---|---|---|"), None);
    }

    #[test]
    fn the_language_is_a_whole_word() {
        assert!(opens("```js", "js"));
        assert!(opens("```rust,no_run", "rust"));
        assert!(!opens("```json", "js"));
        assert!(!opens("js", "js"));
    }
}
