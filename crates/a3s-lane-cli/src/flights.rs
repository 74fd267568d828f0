//! The commands between reading and result: admission up to a bound, settlement, interruption.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use a3s_lane::{CommandHandle, DeadLetter, LaneError, QueueManager, Refused, ShutdownReport};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::args::RunArgs;
use crate::config::Config;
use crate::input::Item;
use crate::job::{Job, Shared, SharedJob};
use crate::outcome::{Record, Status, Verdict, millis};
use crate::progress::TICK;
use crate::quantity;
use crate::report::Left;
use crate::request::Request;
use crate::results::Results;
use crate::signals::Interrupts;

/// Reading pauses while the lines in flight have this many bytes.
const IN_FLIGHT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// After all commands ended the queue has nothing left to wait for.
const DRAIN_MAX: Duration = Duration::from_secs(10);

type Settled = (u64, Result<Value, LaneError>);
type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// A command on its way into its lane.
type Entry = (u64, Answer<Result<CommandHandle, Refused>>);

/// The commands in flight and everything they are settled with.
pub(crate) struct Flights {
    manager: Arc<QueueManager>,
    shared: Arc<Shared>,
    interrupts: Interrupts,
    results: Option<Results>,
    lanes: Vec<String>,
    /// By line number.
    jobs: HashMap<u64, Arc<Job>>,
    bytes: usize,
    /// A command whose lane is full, and says to wait. Nothing is read meanwhile.
    entering: Option<Entry>,
    settled: JoinSet<Settled>,
    /// Labels of the newest commands whose dead letters tell nothing new: they failed as expected or were stopped. As many
    /// as there can be dead letters.
    unlisted: VecDeque<String>,
    dlq_size: usize,
    max: usize,
    strict: bool,
    grace: Duration,
    ended: Ended,
}

/// What the run left behind besides the board and the metrics.
#[derive(Default)]
pub(crate) struct Ended {
    pub(crate) last_line: u64,
    pub(crate) refused_lines: u64,
    /// Commands with another outcome than their line expects.
    pub(crate) unexpected: u64,
    /// The run could not be done as asked: a refused line under --strict, broken input, unwritable output.
    pub(crate) unusable: bool,
    /// The end of the input was not reached.
    pub(crate) stopped_early: bool,
    pub(crate) dead_letters: Vec<DeadLetter>,
    pub(crate) unlisted: HashSet<String>,
    /// Commands that the end of the run kept from their own.
    pub(crate) left: Left,
}

impl Flights {
    pub(crate) fn new(
        args: &RunArgs,
        config: &Config,
        manager: Arc<QueueManager>,
        shared: Arc<Shared>,
        results: Option<Results>,
        interrupts: Interrupts,
    ) -> Self {
        let lanes = config.lanes.iter().map(|lane| lane.name.clone());
        Self {
            manager,
            shared,
            interrupts,
            results,
            lanes: lanes.collect(),
            jobs: HashMap::new(),
            bytes: 0,
            entering: None,
            settled: JoinSet::new(),
            unlisted: VecDeque::new(),
            dlq_size: config.dlq_size,
            max: args.max_in_flight as usize,
            strict: args.strict,
            grace: args.grace,
            ended: Ended::default(),
        }
    }

    /// Runs everything that is read to its end, or until the run is interrupted.
    ///
    /// Of a file as many commands as may be in flight are queued before the lanes start, so that the most urgent of them
    /// go first; from a pipe each command is runnable when it comes.
    pub(crate) async fn run(mut self, items: mpsc::Receiver<Item>, is_file: bool) -> Ended {
        let mut items = Some(items);
        let mut has_started = false;
        let mut has_noticed_stop = false;
        let mut end: Option<Answer<ShutdownReport>> = None;
        let mut has_ended = false;
        let mut deadline: Option<Instant> = None;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let interrupts = self.interrupts.clone();
        loop {
            let may_read = items.is_some() && self.has_room();
            let is_filling = is_file && may_read;
            if !has_started && !is_filling {
                has_started = true;
                if let Err(error) = self.manager.start().await {
                    self.give_up(&format!("cannot start the lanes: {error}"));
                }
            }
            if self.is_over(items.is_some(), has_ended) {
                break;
            }
            tokio::select! {
                biased;
                // Before the end itself, which acts at the same time.
                () = sleep_until(deadline), if deadline.is_some() => {
                    deadline = None;
                    if self.shared.board.running() > 0 && !self.shared.kill.is_cancelled() {
                        self.shared.progress.error("the grace time has passed: stopping what runs");
                    }
                }
                _left = poll(&mut end), if end.is_some() => {
                    (end, has_ended, deadline) = (None, true, None);
                }
                () = interrupts.stop.cancelled(), if !has_noticed_stop => {
                    has_noticed_stop = true;
                    self.notice_stop();
                }
                _ = tick.tick() => self.shared.progress.tick(&self.shared.board, self.ended.last_line),
                Some(settled) = self.settled.join_next(), if !self.settled.is_empty() => {
                    if let Ok((line, result)) = settled {
                        self.settle(line, result);
                    }
                }
                (line, answer) = enter(&mut self.entering), if self.entering.is_some() => {
                    self.entering = None;
                    self.entered(line, answer);
                }
                item = receive(&mut items), if may_read => match item {
                    Some(item) => {
                        if self.accept(item).await.is_break() {
                            self.ended.stopped_early = true;
                            items = None;
                        }
                    }
                    None => items = None,
                },
            }
            if self.shared.board.is_stopped() && end.is_none() && !has_ended {
                self.ended.stopped_early |= items.take().is_some();
                deadline = Some(Instant::now() + self.grace);
                let (manager, grace) = (Arc::clone(&self.manager), self.grace);
                end = Some(Box::pin(
                    async move { manager.shutdown_within(grace).await },
                ));
            }
        }
        self.finish().await
    }

    fn has_room(&self) -> bool {
        self.entering.is_none() && self.jobs.len() < self.max && self.bytes < IN_FLIGHT_BYTES_MAX
    }

    /// Nothing is left to read, or the lanes have ended; and every command is settled.
    fn is_over(&self, is_reading: bool, has_ended: bool) -> bool {
        if self.shared.board.is_stopped() {
            return has_ended && self.settled.is_empty() && self.entering.is_none();
        }
        !is_reading && self.jobs.is_empty()
    }

    fn notice_stop(&self) {
        let running = self.shared.board.running();
        if running > 0 && self.interrupts.exit_code().is_some() && !self.shared.kill.is_cancelled()
        {
            let text = format!(
                "interrupted: waiting for {running} running, at most {}; press Ctrl-C again to end at once",
                quantity::exact(self.grace)
            );
            self.shared.progress.error(&text);
        }
    }

    /// Stops for a reason that makes going on useless.
    fn give_up(&mut self, message: &str) {
        self.shared.progress.error(&format!("error: {message}"));
        self.ended.unusable = true;
        self.shared.board.stop();
    }

    /// Takes what was read; breaks when nothing more is to be read.
    async fn accept(&mut self, item: Item) -> ControlFlow<()> {
        match item {
            Item::Request(request) => {
                self.ended.last_line = request.line;
                self.submit(*request).await;
            }
            Item::Refused { line, message } => {
                self.ended.last_line = line;
                self.ended.refused_lines += 1;
                self.shared
                    .progress
                    .error(&format!("{:<9} line {line}: {message}", "refused"));
                if self.strict {
                    self.ended.unusable = true;
                    return ControlFlow::Break(());
                }
            }
            Item::Broken(message) => {
                self.ended.unusable = true;
                self.shared.progress.error(&format!("error: {message}"));
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    async fn submit(&mut self, request: Request) {
        let (line, lane) = (request.line, self.lanes[request.lane].clone());
        self.shared.board.admit(request.lane);
        self.bytes += request.bytes;
        let options = request.options.clone();
        let job = Arc::new(Job::new(request, &lane, Arc::clone(&self.shared)));
        self.jobs.insert(line, Arc::clone(&job));
        let manager = Arc::clone(&self.manager);
        let mut answer: Answer<_> = Box::pin(async move {
            manager
                .submit_with(&lane, Box::new(SharedJob(job)), options)
                .await
        });
        tokio::select! {
            biased;
            answer = &mut answer => self.entered(line, answer),
            () = std::future::ready(()) => self.entering = Some((line, answer)),
        }
    }

    /// A command is in its lane, or was refused.
    fn entered(&mut self, line: u64, answer: Result<CommandHandle, Refused>) {
        match answer {
            Ok(handle) => {
                self.settled.spawn(async move { (line, handle.await) });
            }
            Err(refused) => {
                let (error, _command) = refused.into_parts();
                self.settle(line, Err(error));
            }
        }
    }

    /// A command has its result.
    fn settle(&mut self, line: u64, result: Result<Value, LaneError>) {
        let Some(job) = self.jobs.remove(&line) else {
            return;
        };
        let request = &job.request;
        self.bytes -= request.bytes;
        let mut history = job.take_history();
        // What the lanes still held when they ended.
        history.refused |= self.shared.board.is_stopped()
            && !history.stopped
            && matches!(
                result,
                Err(LaneError::QueueError(_) | LaneError::ShutdownInProgress)
            );
        let verdict = Verdict::of(result, &history);
        if verdict.is_interrupted() {
            self.ended.left.stopped += u64::from(history.stopped);
            self.ended.left.pending += u64::from(!history.stopped);
        }
        let ok = verdict.meets(request.expect);
        let status = verdict.status;
        let is_unlisted = (ok && status != Status::Completed) || verdict.is_interrupted();
        self.shared.board.settle(request.lane, status, ok);
        self.ended.unexpected += u64::from(!ok);
        let record = Record {
            line,
            lane: &job.lane,
            kind: &request.kind,
            status,
            ok,
            attempts: history.attempts,
            wait_ms: millis(history.waited),
            run_ms: millis(history.ran),
            result: verdict.result.or(history.evidence),
            error: verdict.error,
            code: verdict.code,
        };
        self.show(&job, &record);
        if let Some(results) = &mut self.results
            && let Err(message) = results.write(&record)
        {
            self.results = None;
            self.give_up(&message);
        }
        if is_unlisted && self.dlq_size > 0 {
            if self.unlisted.len() == self.dlq_size {
                self.unlisted.pop_front();
            }
            self.unlisted.push_back(job.label().to_owned());
        }
    }

    fn show(&self, job: &Job, record: &Record<'_>) {
        let progress = &self.shared.progress;
        let took = quantity::millis(record.run_ms);
        let error = record.error.as_deref().unwrap_or_default();
        match (record.status, record.ok) {
            (Status::NotRun, _) => {}
            (Status::Completed, true) => {
                if progress.is_verbose() {
                    progress.command("completed", job, &format!("in {took}"));
                }
            }
            (Status::Completed, false) => {
                let wanted = job.request.expect.word();
                progress.command("failed", job, &format!("completed, but expected: {wanted}"));
            }
            (status, true) => {
                progress.command("expected", job, &format!("{}: {error}", status.word()))
            }
            (status, false) => progress.command(status.word(), job, error),
        }
    }

    /// Lets go of the queue.
    async fn finish(mut self) -> Ended {
        if !self.shared.board.is_stopped() {
            self.manager.shutdown().await;
            if let Err(error) = self.manager.drain(DRAIN_MAX).await {
                self.give_up(&format!("cannot drain the lanes: {error}"));
            }
        }
        if let Some(dlq) = self.manager.queue().dlq() {
            self.ended.dead_letters = dlq.list().await;
        }
        self.ended.unlisted = self.unlisted.into_iter().collect();
        self.ended
    }
}

/// The arms of the loop are only polled while there is something to wait for.
async fn poll<T>(answer: &mut Option<Answer<T>>) -> T {
    match answer {
        Some(answer) => answer.await,
        None => std::future::pending().await,
    }
}

async fn enter(entry: &mut Option<Entry>) -> (u64, Result<CommandHandle, Refused>) {
    match entry {
        Some((line, answer)) => (*line, answer.await),
        None => std::future::pending().await,
    }
}

async fn receive(items: &mut Option<mpsc::Receiver<Item>>) -> Option<Item> {
    match items {
        Some(items) => items.recv().await,
        None => None,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
