//! The `run` subcommand: from arguments to exit status.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use a3s_lane::Storage as _;
use a3s_lane::{EventEmitter, LocalStorage, QueueManager, QueueManagerBuilder, QueueMetrics};
use tokio_util::sync::CancellationToken;

use crate::args::RunArgs;
use crate::board::Board;
use crate::config::Config;
use crate::flights::{Ended, Flights};
use crate::input::Input;
use crate::job::Shared;
use crate::observer;
use crate::payload::TYPES;
use crate::progress::Progress;
use crate::report::{self, Summary};
use crate::request::LaneNames;
use crate::results::Results;
use crate::resumed::{Builtin, Histories, Stored};
use crate::signals::Interrupts;
use crate::storage;

/// Exit status of a run in which something did not end as expected.
const EXIT_UNEXPECTED: u8 = 1;
/// Exit status when the run could not be done as asked.
const EXIT_UNUSABLE: u8 = 2;
/// Events kept for a display that is behind; it then says how many it missed.
const EVENTS_KEPT: usize = 4096;

/// Runs the commands; returns the exit status.
pub(crate) fn main(args: &RunArgs) -> u8 {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return unusable(&format!("cannot start the runtime: {error}")),
    };
    let code = match runtime.block_on(run(args)) {
        Ok(code) => code,
        Err(message) => unusable(&message),
    };
    // What is still blocked in a read of standard input is not waited for.
    runtime.shutdown_background();
    code
}

fn unusable(message: &str) -> u8 {
    let _closed = writeln!(io::stderr(), "error: {message}");
    EXIT_UNUSABLE
}

async fn run(args: &RunArgs) -> Result<u8, String> {
    let config = Config::load(args.config.as_deref())?;
    let names: Arc<[String]> = config.lanes.iter().map(|lane| lane.name.clone()).collect();
    let Some(path) = &args.storage else {
        return run_on(args, config, names, None).await;
    };
    let stored = open(path, args, &names).await?;
    let storage = Arc::clone(&stored.0);
    let ended = run_on(args, config, names, Some(stored)).await;
    // Everything is in its file then, and another process can have it at once.
    let closed = storage.close().await;
    let code = ended?;
    closed.map_err(|error| error.to_string())?;
    Ok(code)
}

async fn run_on(
    args: &RunArgs,
    config: Config,
    names: Arc<[String]>,
    storage: Option<(Arc<LocalStorage>, Stored)>,
) -> Result<u8, String> {
    let metrics = QueueMetrics::local();
    let kept = storage.as_ref().map(|(storage, _)| Arc::clone(storage));
    let manager = build(&config, metrics.clone(), kept)
        .await
        .map_err(|error| match &args.config {
            Some(path) => format!("{}: {error}", path.display()),
            None => error,
        })?;
    let manager = Arc::new(manager);
    let input = Input::open(&args.input)?;
    // Created last: a mistake elsewhere must not empty the results of an earlier run.
    let results = args
        .output
        .as_deref()
        .map(|path| Results::create(path, &args.input))
        .transpose()?;
    if !input.is_file() && args.input.as_os_str() == "-" && io::stdin().is_terminal() {
        let _closed = writeln!(
            io::stderr(),
            "reading commands from the terminal, one JSON object a line, until Ctrl-D"
        );
    }

    let kill = CancellationToken::new();
    let interrupts = Interrupts::listen(kill.clone())?;
    let shared = Arc::new(Shared {
        board: Board::new(&config, interrupts.stop.clone()),
        progress: Progress::new(args.progress, args.verbose, &config),
        kill,
        manager: Arc::downgrade(&manager),
        is_stored: storage.is_some(),
        histories: Histories::default(),
    });
    if storage.is_some() {
        for kind in TYPES {
            let (shared, lanes) = (Arc::clone(&shared), Arc::clone(&names));
            manager.register_handler(
                kind,
                Builtin {
                    kind,
                    shared,
                    lanes,
                },
            );
        }
    }
    let observer = observer::spawn(&manager, &config, &shared);
    let began = Instant::now();
    let is_file = input.is_file();
    let items = input.spawn(LaneNames::of(&config));
    let flights = Flights::new(
        args,
        &config,
        manager,
        Arc::clone(&shared),
        results,
        storage,
        interrupts.clone(),
    );
    let ended = flights.run(items, is_file).await;
    let elapsed = began.elapsed();
    observer.finish().await;
    shared.progress.finish();

    let snapshot = metrics.snapshot().await;
    let lanes = shared.board.lanes();
    let summary = Summary {
        refused_lines: ended.refused_lines,
        elapsed,
        stopped_after_line: ended.stopped_early.then_some(ended.last_line),
        left: interrupts.exit_code().map(|_| ended.left),
        resumed: ended.resumed,
        unclaimed: ended.unclaimed,
        known_lines: ended.known_lines,
        storage: args.storage.as_deref(),
    };
    let mut text = format!(
        "{}\n{}\n",
        report::table(&lanes, &snapshot),
        report::closing(&lanes, &summary)
    );
    let failures = report::failures(&ended.dead_letters, &ended.unlisted, args.storage.is_some());
    if !failures.is_empty() {
        text.push_str(&failures);
        text.push('\n');
    }
    print(
        &text,
        args.output
            .as_ref()
            .is_some_and(|path| path.as_os_str() == "-"),
    );
    Ok(exit_code(&interrupts, &ended))
}

/// Opens the storage and looks at what is in it.
async fn open(
    path: &Path,
    args: &RunArgs,
    lanes: &[String],
) -> Result<(Arc<LocalStorage>, Stored), String> {
    let storage = storage::open(path, args.durability, &args.kept).await?;
    match Stored::read(&storage, lanes).await {
        Ok(stored) => Ok((Arc::new(storage), stored)),
        Err(error) => {
            // The error that was first is told.
            let _closed = storage.close().await;
            Err(error.to_string())
        }
    }
}

async fn build(
    config: &Config,
    metrics: QueueMetrics,
    storage: Option<Arc<LocalStorage>>,
) -> Result<QueueManager, String> {
    let mut builder =
        QueueManagerBuilder::new(EventEmitter::new(EVENTS_KEPT)).with_metrics(metrics);
    if config.dlq_size > 0 {
        builder = builder.with_dlq(config.dlq_size);
    }
    if let Some(storage) = storage {
        builder = builder.with_storage(storage);
    }
    if let Some(total) = config.total {
        builder = builder.with_max_concurrency(total);
    }
    for (name, limiter) in &config.limiters {
        builder = builder.with_limiter(name.clone(), limiter.clone());
    }
    for lane in &config.lanes {
        builder = builder
            .with_lane(lane.name.clone(), lane.config.clone(), lane.priority)
            .with_lane_options(lane.name.clone(), lane.options.clone());
    }
    builder.build().await.map_err(|error| error.to_string())
}

/// The table goes where the results do not.
fn print(text: &str, to_stderr: bool) {
    let _closed = if to_stderr {
        io::stderr().write_all(text.as_bytes())
    } else {
        io::stdout().write_all(text.as_bytes())
    };
}

fn exit_code(interrupts: &Interrupts, ended: &Ended) -> u8 {
    if let Some(code) = interrupts.exit_code() {
        code
    } else if ended.unusable {
        EXIT_UNUSABLE
    } else if ended.unexpected > 0 || ended.refused_lines > 0 {
        EXIT_UNEXPECTED
    } else {
        0
    }
}
