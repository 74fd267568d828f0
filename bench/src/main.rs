//! Side-by-side benchmarks of a3s-lane: ours, the floor and the published crate in one process, in turns.
//!
//! `cargo run --release --manifest-path bench/Cargo.toml` prints the table and writes the JSON; see `bench/README.md`.

mod contestants;
mod harness;
mod rows;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use harness::alloc::CountingAllocator;
use harness::options::{Options, USAGE};
use harness::{json, machine, table};
use rows::{ROWS, Row};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .iter()
        .any(|argument| argument == "--help" || argument == "-h")
    {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match Options::parse(arguments.into_iter()).and_then(|options| bench(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> Result<(), String> {
    if options.list {
        for row in &ROWS {
            println!("{:<12} {}", row.name, row.about);
        }
        return Ok(());
    }
    let chosen = choose(&options.rows)?;
    if cfg!(debug_assertions) {
        eprintln!("built without --release: the numbers mean nothing");
    }

    let machine = machine::facts();
    let mut lines = Vec::new();
    let mut broken = Vec::new();
    for row in chosen {
        // A row checks what it measures and panics when that is wrong; the other rows still stand.
        match catch_unwind(AssertUnwindSafe(|| (row.run)(options))) {
            Ok(of_row) => lines.extend(of_row),
            Err(_) => broken.push(row.name),
        }
    }

    println!("{machine}");
    println!(
        "medians of {} rounds in turns; load average {} before, {} after{}",
        options.rounds,
        machine["load_average"],
        machine::load_average().map_or("unknown".into(), |load| load.to_string()),
        if options.quick {
            "; QUICK: checks the harness, measures little"
        } else {
            ""
        },
    );
    println!("{}", table::table(&lines));
    println!(
        "*: so slow that it got fewer commands per sample (see the JSON); min..max: ours / floor by round"
    );
    println!("{}", table::summary(&lines));

    let report = json::report(&machine, options.rounds, options.quick, &lines);
    let text = serde_json::to_string_pretty(&report)
        .map_err(|error| format!("cannot write JSON: {error}"))?;
    std::fs::write(&options.json, text)
        .map_err(|error| format!("cannot write {}: {error}", options.json.display()))?;
    println!("wrote {}", options.json.display());
    if broken.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "rows that failed, see above: {}",
            broken.join(", ")
        ))
    }
}

/// The rows with these names, in table order; all for no names.
fn choose(names: &[String]) -> Result<Vec<&'static Row>, String> {
    if let Some(unknown) = names
        .iter()
        .find(|name| ROWS.iter().all(|row| row.name != name.as_str()))
    {
        let known: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        return Err(format!(
            "no row is called {unknown:?}; there are {}",
            known.join(", ")
        ));
    }
    let all = names.is_empty();
    Ok(ROWS
        .iter()
        .filter(|row| all || names.iter().any(|name| name == row.name))
        .collect())
}
