//! What is shown on standard error while commands run.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::ProgressChoice;
use crate::board::{Board, LaneCounts};
use crate::config::Config;
use crate::job::Job;
use crate::quantity;

/// How often the display is brought up to date.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// How often the plain display says where it is.
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// Lanes with a line of their own; the others share one.
const LANES_SHOWN_MAX: usize = 20;
/// Width of a lane name.
const NAME_WIDTH_MAX: usize = 24;

/// The display, usable from every thread.
pub(crate) struct Progress {
    look: Look,
    verbose: bool,
}

enum Look {
    Bars(Bars),
    Plain(Mutex<Plain>),
    Silent,
}

struct Bars {
    all: MultiProgress,
    head: ProgressBar,
    lanes: Vec<ProgressBar>,
    others: Option<ProgressBar>,
    began: Instant,
}

struct Plain {
    began: Instant,
    said_at: Instant,
    said: String,
}

impl Progress {
    pub(crate) fn new(choice: ProgressChoice, verbose: bool, config: &Config) -> Self {
        let look = match choice {
            ProgressChoice::None => Look::Silent,
            ProgressChoice::Bars => Look::Bars(Bars::new(config)),
            ProgressChoice::Auto if io::stderr().is_terminal() => Look::Bars(Bars::new(config)),
            ProgressChoice::Auto | ProgressChoice::Plain => {
                let began = Instant::now();
                Look::Plain(Mutex::new(Plain {
                    began,
                    said_at: began,
                    said: String::new(),
                }))
            }
        };
        Self { look, verbose }
    }

    /// Whether every start and end is shown.
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Reports something about a command.
    pub(crate) fn command(&self, event: &str, job: &Job, what: &str) {
        let (line, lane, description) = (job.request.line, &job.lane, &job.description);
        self.note(&format!(
            "{event:<9} line {line}  {lane}  {description}: {what}"
        ));
    }

    /// Shows a line, unless nothing is to be shown.
    pub(crate) fn note(&self, text: &str) {
        let text = quantity::one_line(text, 400);
        match &self.look {
            Look::Bars(bars) => bars.print(&text),
            Look::Plain(_) => print(&text),
            Look::Silent => {}
        }
    }

    /// Shows a line in any case.
    pub(crate) fn error(&self, text: &str) {
        let text = quantity::one_line(text, 2_000);
        match &self.look {
            Look::Bars(bars) => bars.print(&text),
            Look::Plain(_) | Look::Silent => print(&text),
        }
    }

    /// Brings the display up to date.
    pub(crate) fn tick(&self, board: &Board, lines_read: u64) {
        match &self.look {
            Look::Bars(bars) => bars.update(&board.lanes(), lines_read),
            Look::Plain(plain) => plain
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .update(board),
            Look::Silent => {}
        }
    }

    /// Removes the live lines, for good.
    pub(crate) fn finish(&self) {
        if let Look::Bars(bars) = &self.look {
            let _gone = bars.all.clear();
            // Each bar would draw all that are left once more when it is dropped, below what has been printed since.
            bars.all.set_draw_target(ProgressDrawTarget::hidden());
        }
    }
}

/// A closed standard error must not stop the run.
fn print(text: &str) {
    let _closed = writeln!(io::stderr(), "{text}");
}

fn total(lanes: &[LaneCounts]) -> LaneCounts {
    let mut total = LaneCounts::default();
    lanes.iter().for_each(|lane| total.add(lane));
    total
}

fn elapsed(began: Instant) -> String {
    let seconds = began.elapsed().as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// `12 waiting, 40 done, 1 failed`; what is zero is left out, except the first two.
fn counts(lane: &LaneCounts) -> String {
    let mut text = format!("{} waiting, {} done", lane.waiting, lane.done);
    for (count, word) in [
        (lane.failed, "failed"),
        (lane.timed_out, "timed out"),
        (lane.expected, "failed as expected"),
        (lane.retried, "retried"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {word}"));
        }
    }
    text
}

impl Plain {
    fn update(&mut self, board: &Board) {
        if self.said_at.elapsed() < STATUS_EVERY {
            return;
        }
        self.said_at = Instant::now();
        let total = total(&board.lanes());
        let text = format!("{} running, {}", total.running, counts(&total));
        if text != self.said {
            print(&format!("{:<9} {text}", elapsed(self.began)));
            self.said = text;
        }
    }
}

impl Bars {
    fn new(config: &Config) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(15));
        let line = |template: &str, length: u64| {
            let style = ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = all.add(ProgressBar::new(length));
            bar.set_style(style.progress_chars("■■·"));
            bar
        };
        let head = line("{wide_msg}", 0);
        let width = config
            .lanes
            .iter()
            .take(LANES_SHOWN_MAX)
            .map(|lane| lane.name.chars().count())
            .max()
            .unwrap_or(0);
        let width = width.min(NAME_WIDTH_MAX);
        let lanes = config.lanes.iter().take(LANES_SHOWN_MAX).map(|lane| {
            let bar = line(
                "  {prefix} {bar:10.cyan} {pos:>3}/{len:<3} {wide_msg}",
                lane.config.max_concurrency as u64,
            );
            bar.set_prefix(format!("{:<width$}", quantity::one_line(&lane.name, width)));
            bar
        });
        let lanes = lanes.collect();
        let others = (config.lanes.len() > LANES_SHOWN_MAX).then(|| line("  {wide_msg}", 0));
        Self {
            head,
            lanes,
            others,
            began: Instant::now(),
            all: all.clone(),
        }
    }

    fn print(&self, text: &str) {
        if self.all.is_hidden() {
            print(text);
        } else {
            let _closed = self.all.println(text);
        }
    }

    fn update(&self, lanes: &[LaneCounts], lines_read: u64) {
        let sum = total(lanes);
        self.head.set_message(format!(
            "{}  {lines_read} read, {} running, {}",
            elapsed(self.began),
            sum.running,
            counts(&sum)
        ));
        for (bar, lane) in self.lanes.iter().zip(lanes) {
            bar.set_position(lane.running as u64);
            let latest = if lane.running > 0 {
                format!("  {}", lane.latest)
            } else {
                String::new()
            };
            bar.set_message(format!("{}{latest}", counts(lane)));
        }
        if let Some(bar) = &self.others {
            let hidden = &lanes[LANES_SHOWN_MAX..];
            let sum = total(hidden);
            bar.set_message(format!(
                "{} more lanes: {} running, {}",
                hidden.len(),
                sum.running,
                counts(&sum)
            ));
        }
    }
}
