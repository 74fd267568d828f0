//! What the pages show must run as they show it.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{node, python};
use crate::command::Run;
use crate::house::House;
use crate::nodes;
use crate::pythons;
use crate::snippets::{Snippet, pages, programs};

/// Rust snippets run as examples of the core: a page with some must be included there.
pub(super) fn rust(house: &House) -> Result<()> {
    let core = std::fs::read_to_string(house.root.join("crates/a3s-lane/src/lib.rs"))?;
    for page in pages(&house.root)? {
        let text = std::fs::read_to_string(&page)?;
        if !text.lines().any(|line| line.starts_with("```rust")) {
            continue;
        }
        let name = shown(house, &page);
        let include = format!("include_str!(\"../../../{name}\")");
        if !core.contains(&include) {
            bail!("{name} has Rust snippets, but crates/a3s-lane/src/lib.rs has no {include}");
        }
        println!("{name} is part of rust-doc");
    }
    Ok(())
}

pub(super) fn python(house: &House) -> Result<()> {
    let venv = python::installed(house, "test", &pythons::newest()?)?;
    for_each(house, &["python", "py"], |snippet| {
        let dir = house.empty_dir("python-snippet")?;
        let file = dir.join("snippet.py");
        std::fs::write(&file, &snippet.code)?;
        Run::new(venv.python()).arg("-u").arg(file).dir(&dir).run()
    })
}

pub(super) fn node(house: &House) -> Result<()> {
    let dir = node::packed(house)?;
    let newest = nodes::newest(house)?;
    for_each(house, &["js", "javascript", "mjs", "cjs"], |snippet| {
        let module = snippet.code.lines().any(|line| line.starts_with("import "));
        let program = house.empty_dir("node-snippet")?.join(if module {
            "snippet.mjs"
        } else {
            "snippet.cjs"
        });
        std::fs::write(&program, &snippet.code)?;
        node::run_in(dir, &newest, &program)
    })
}

fn for_each(
    house: &House,
    languages: &[&str],
    mut run: impl FnMut(&Snippet) -> Result<()>,
) -> Result<()> {
    let mut count = 0;
    for page in pages(&house.root)? {
        let name = shown(house, &page);
        let text = std::fs::read_to_string(&page).with_context(|| format!("read {name}"))?;
        for snippet in programs(&text, languages).with_context(|| name.clone())? {
            println!("{name}:{}", snippet.line);
            run(&snippet).with_context(|| format!("{name}:{}", snippet.line))?;
            count += 1;
        }
    }
    if count == 0 {
        bail!("no page has a snippet in {}", languages.join(", "));
    }
    println!("{count} snippets passed");
    Ok(())
}

fn shown(house: &House, page: &Path) -> String {
    let relative = page.strip_prefix(&house.root).unwrap_or(page);
    relative.to_string_lossy().replace('\\', "/")
}

/// The command that the README shows first: every line of the session gets a result.
pub(super) fn first_command(house: &House) -> Result<()> {
    let session = std::fs::read_to_string(house.root.join("examples/session.jsonl"))
        .context("read examples/session.jsonl")?;
    let results = house.empty_dir("first-command")?.join("results.jsonl");
    let status = house
        .cargo()
        .args([
            "run",
            "--release",
            "--locked",
            "--",
            "run",
            "examples/session.jsonl",
            "--output",
        ])
        .arg(&results)
        .status()?;
    // The session holds commands that fail on purpose: 0 would mean that they went unnoticed.
    if status.code() != Some(1) {
        bail!("the session ended with {status}, not with 1");
    }
    let count = |text: &str| text.lines().filter(|line| !line.trim().is_empty()).count();
    let settled = count(&std::fs::read_to_string(&results)?);
    let commands = count(&session);
    if settled != commands {
        bail!("{settled} results of {commands} commands");
    }
    println!("{settled} commands settled");
    Ok(())
}
