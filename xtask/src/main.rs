//! Project tasks: `cargo xtask test` sets up what it needs and runs every test, `cargo xtask ci` adds the checks.

mod command;
mod features;
mod house;
mod nodes;
mod pythons;
mod side_by_side;
mod stages;
mod venv;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

use house::House;
use stages::Stage;

const USAGE: &str = "\
usage: cargo xtask test [--list] [--keep-going] [NAME...]
       cargo xtask ci   [--list] [--keep-going] [NAME...]

test  runs every test: Rust, Python, Node, documentation
ci    runs the checks as well: format, lints, documentation, features, licences, workflows
NAME  is a stage or a group of stages; --list shows both
      --keep-going runs the remaining stages after one has failed";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let task = args.next().unwrap_or_default();
    let (flags, names): (Vec<String>, Vec<String>) = args.partition(|arg| arg.starts_with("--"));
    let mut list = false;
    let mut keep_going = false;
    for flag in &flags {
        match flag.as_str() {
            "--list" => list = true,
            "--keep-going" => keep_going = true,
            other => bail!("unknown option {other}\n{USAGE}"),
        }
    }
    let every = match task.as_str() {
        "test" => stages::tests(),
        "ci" => stages::checks_and_tests(),
        "help" | "--help" => {
            println!("{USAGE}");
            return Ok(());
        }
        _ => bail!("say which task to run\n{USAGE}"),
    };
    if list {
        for stage in &every {
            println!("{:7} {:16} {}", stage.group, stage.name, stage.about);
        }
        return Ok(());
    }
    let chosen = stages::select(every, &names)?;
    run_stages(&House::open()?, &chosen, keep_going)
}

fn run_stages(house: &House, chosen: &[Stage], keep_going: bool) -> Result<()> {
    let mut lines = Vec::new();
    let mut failed: Vec<(&str, String)> = Vec::new();
    for stage in chosen {
        println!("\n=== {}: {}", stage.name, stage.about);
        let start = Instant::now();
        let result = (stage.run)(house);
        let seconds = start.elapsed().as_secs_f64();
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        lines.push(format!("{verdict:6} {:16} {seconds:7.1} s", stage.name));
        if let Err(error) = result {
            eprintln!("error: stage {}: {error:#}", stage.name);
            failed.push((stage.name, format!("{error:#}")));
            if !keep_going {
                break;
            }
        }
    }
    // What went wrong is said once more: the end of a log is what is kept of it.
    for (name, error) in &failed {
        println!("\n=== failed: {name}\n{error}");
    }
    println!("\n=== stages");
    for line in lines {
        println!("{line}");
    }
    if failed.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = failed.into_iter().map(|(name, _)| name).collect();
    bail!("failed: {}", names.join(", "))
}
