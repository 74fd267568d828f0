//! The `dlq` subcommand: dead letters of a storage that no run has open.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use a3s_lane::storage::CommandRecord;
use a3s_lane::{
    DeadLetterFilter, DeadLetterRecord, DeadLetters, EventEmitter, LaneError, LocalStorage,
    QueueManagerBuilder, Storage,
};
use chrono::SecondsFormat;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use crate::args::{
    ChosenLetters, DlqAction, DlqDiscardArgs, DlqExportArgs, DlqImportArgs, DlqListArgs,
    DlqRetryArgs, LetterFilter,
};
use crate::quantity::one_line;
use crate::storage;

/// Exit status when something that was asked for was not done.
const EXIT_INCOMPLETE: u8 = 1;

/// What a call prints, and its exit status.
type Done = Result<(String, u8), String>;

/// Does what was asked for; returns the exit status.
pub(crate) fn main(action: &DlqAction) -> u8 {
    let done = storage::block_on(async {
        match action {
            DlqAction::List(args) => list(args).await,
            DlqAction::Retry(args) => retry(args).await,
            DlqAction::Discard(args) => discard(args).await,
            DlqAction::Export(args) => export(args).await,
            DlqAction::Import(args) => import(args).await,
        }
    });
    match done {
        Ok((text, code)) => {
            // A reader that closed the pipe has seen enough.
            let _closed = io::stdout().write_all(text.as_bytes());
            code
        }
        Err(message) => storage::unusable(&message),
    }
}

async fn list(args: &DlqListArgs) -> Done {
    let letters = Letters::open(&args.storage.path).await?;
    let filter = args.filter.as_filter();
    if args.json {
        let text = letters.all.export(&filter).await.map_err(text_of)?;
        return Ok((text, 0));
    }
    let found = letters.all.list(&filter).await.map_err(text_of)?;
    Ok((table(&found), 0))
}

fn table(letters: &[DeadLetterRecord]) -> String {
    if letters.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "id",
        "lane",
        "type",
        "failed at",
        "attempts",
        "code",
        "error",
    ]);
    for letter in letters {
        table.add_row([
            // Whole: it is what `--id` takes.
            one_line(&letter.command_id, 1_000),
            one_line(&letter.lane_id, 40),
            one_line(&letter.command_type, 40),
            letter.failed_at.to_rfc3339_opts(SecondsFormat::Secs, true),
            letter.attempts.to_string(),
            letter.code.clone(),
            one_line(&letter.error, 100),
        ]);
    }
    for column in table.column_iter_mut().skip(4).take(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned() + "\n");
    lines.collect()
}

async fn retry(args: &DlqRetryArgs) -> Done {
    let filter = args.letters.as_filter()?;
    let payload = args.payload.as_deref().map(|text| {
        if filter.ids.len() != 1 {
            return Err("--payload: expected exactly one --id beside it".to_owned());
        }
        serde_json::from_str::<Value>(text)
            .map_err(|error| format!("--payload: expected JSON: {error}"))
    });
    let payload = payload.transpose()?;
    let letters = Letters::open(&args.storage.path).await?;
    let found = letters.all.list(&filter).await.map_err(text_of)?;
    let mut newest = DeadLetterRecord::newest(found);
    if let Some(payload) = payload {
        for letter in &mut newest {
            letter.payload = Some(payload.clone());
        }
    }
    let mut answers = revive(&letters.storage, newest).await;
    let missing = missing(&filter, answers.iter().map(|(id, _)| id.as_str()));
    for id in missing {
        let error = LaneError::CommandNotFound("no dead letter of this command".to_owned());
        answers.push((id, Err(error)));
    }
    let failed = answers.iter().filter(|(_, answer)| answer.is_err()).count();
    let mut text = String::new();
    for (id, answer) in &answers {
        match (args.json, answer) {
            (true, Ok(())) => text.push_str(&format!("{}\n", json!({"id": id, "retried": true}))),
            (true, Err(error)) => {
                let error = error.to_string();
                let line = json!({"id": id, "retried": false, "error": error});
                text.push_str(&format!("{line}\n"));
            }
            (false, Ok(())) => {}
            (false, Err(error)) => {
                let line = format!("not retried: {id}: {error}");
                let _closed = writeln!(io::stderr(), "{}", one_line(&line, 2_000));
            }
        }
    }
    if !args.json {
        let retried = answers.len() - failed;
        text = format!("{retried} pending again\n");
    }
    Ok((text, if failed == 0 { 0 } else { EXIT_INCOMPLETE }))
}

type Answers = Vec<(String, a3s_lane::Result<()>)>;

/// Makes the commands of letters pending ones, all in one step.
async fn revive(storage: &LocalStorage, letters: Vec<DeadLetterRecord>) -> Answers {
    let mut pending = Vec::new();
    let mut answers = Vec::with_capacity(letters.len());
    for letter in letters {
        let id = letter.command_id.clone();
        let answer = record_of(storage, letter).await;
        answers.push((id, answer.map(|record| pending.push(record))));
    }
    if !pending.is_empty()
        && let Err(error) = storage.revive_dead_letters(pending).await
    {
        let text = error.to_string();
        for (_, answer) in answers.iter_mut().filter(|(_, answer)| answer.is_ok()) {
            *answer = Err(LaneError::Other(text.clone()));
        }
    }
    answers
}

/// The command of a letter as a pending one, if there is none with its id.
async fn record_of(
    storage: &LocalStorage,
    letter: DeadLetterRecord,
) -> a3s_lane::Result<CommandRecord> {
    if storage.has_command(&letter.command_id).await? {
        let text = "a command of this id is pending; its letter stays".to_owned();
        return Err(LaneError::Duplicate(text));
    }
    letter.into_pending()
}

/// The commands that were named and of which no letter was found.
fn missing<'a>(filter: &DeadLetterFilter, found: impl Iterator<Item = &'a str>) -> Vec<String> {
    let found: HashSet<&str> = found.collect();
    let named = filter.ids.iter();
    named
        .filter(|id| !found.contains(id.as_str()))
        .cloned()
        .collect()
}

async fn discard(args: &DlqDiscardArgs) -> Done {
    let filter = args.letters.as_filter()?;
    let letters = Letters::open(&args.storage.path).await?;
    let found = letters.all.list(&filter).await.map_err(text_of)?;
    let missing = missing(&filter, found.iter().map(|it| it.command_id.as_str()));
    let discarded = letters.all.discard(&filter).await.map_err(text_of)?;
    for id in &missing {
        let line = format!("not discarded: {id}: no dead letter of this command");
        let _closed = writeln!(io::stderr(), "{}", one_line(&line, 2_000));
    }
    let text = if args.json {
        format!("{}\n", json!({ "discarded": discarded }))
    } else {
        format!("{discarded} discarded\n")
    };
    Ok((
        text,
        if missing.is_empty() {
            0
        } else {
            EXIT_INCOMPLETE
        },
    ))
}

async fn export(args: &DlqExportArgs) -> Done {
    let letters = Letters::open(&args.storage.path).await?;
    let filter = args.filter.as_filter();
    let text = letters.all.export(&filter).await.map_err(text_of)?;
    if args.output.as_os_str() == "-" {
        return Ok((text, 0));
    }
    let count = text.lines().count();
    fs::write(&args.output, text)
        .map_err(|error| format!("cannot write {}: {error}", args.output.display()))?;
    Ok((format!("{count} exported\n"), 0))
}

async fn import(args: &DlqImportArgs) -> Done {
    let mut text = String::new();
    let (name, read) = if args.input.as_os_str() == "-" {
        let read = io::stdin().read_to_string(&mut text).map(drop);
        ("standard input".to_owned(), read)
    } else {
        let read = fs::read_to_string(&args.input).map(|found| text = found);
        (args.input.display().to_string(), read)
    };
    read.map_err(|error| format!("cannot read {name}: {error}"))?;
    let letters = Letters::open(&args.storage.path).await?;
    let imported = letters.all.import(&text).await.map_err(text_of)?;
    let text = if args.json {
        format!("{}\n", json!({ "imported": imported }))
    } else {
        format!("{imported} imported\n")
    };
    Ok((text, 0))
}

/// The dead letters of a storage.
struct Letters {
    storage: Arc<LocalStorage>,
    all: DeadLetters,
}

impl Letters {
    async fn open(path: &Path) -> Result<Self, String> {
        let storage = Arc::new(storage::open_existing(path).await?);
        // Without lanes and never started: it runs nothing.
        let manager = QueueManagerBuilder::new(EventEmitter::new(1))
            .with_storage(storage.clone())
            .build()
            .await
            .map_err(text_of)?;
        let all = manager.dead_letters();
        Ok(Self { storage, all })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn text_of(error: LaneError) -> String {
    error.to_string()
}

impl LetterFilter {
    fn as_filter(&self) -> DeadLetterFilter {
        let mut filter = DeadLetterFilter::all();
        filter.ids.clone_from(&self.id);
        filter.lane_id.clone_from(&self.lane);
        filter.command_type.clone_from(&self.command_type);
        filter.code.clone_from(&self.code);
        (filter.since, filter.until, filter.limit) = (self.since, self.until, self.limit);
        filter
    }
}

impl ChosenLetters {
    fn as_filter(&self) -> Result<DeadLetterFilter, String> {
        let filter = self.filter.as_filter();
        match (filter == DeadLetterFilter::all(), self.all) {
            (true, false) => Err("which letters? give a filter, or --all".to_owned()),
            (false, true) => Err("--all: expected no filter beside it".to_owned()),
            _ => Ok(filter),
        }
    }
}
