//! What the pages show must run as they show it.

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
    use super::opens;

    #[test]
    fn the_language_is_a_whole_word() {
        assert!(opens("```js", "js"));
        assert!(opens("```rust,no_run", "rust"));
        assert!(!opens("```json", "js"));
        assert!(!opens("js", "js"));
    }
}
