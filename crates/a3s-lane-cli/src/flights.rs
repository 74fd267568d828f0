//! The commands between reading and result: admission up to a bound, settlement, interruption.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use a3s_lane::{
    CommandHandle, DeadLetter, LaneError, LocalStorage, QueueManager, Refused, ShutdownReport,
    Storage,
};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::args::RunArgs;
use crate::config::Config;
use crate::input::Item;
use crate::job::{History, Job, Shared, SharedJob};
use crate::outcome::{Record, Status, Verdict, millis};
use crate::progress::TICK;
use crate::quantity;
use crate::report::Left;
use crate::request::Request;
use crate::results::Results;
use crate::resumed::{self, Resumed, Stored};
use crate::signals::Interrupts;

/// Reading pauses while the lines in flight have this many bytes.
const IN_FLIGHT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Commands that may wait for their storage: they share its writes.
const STORING_MAX: usize = 64;
/// Ends of resumed commands that may wait for the run loop.
const RESUMED_AHEAD: usize = 16;
/// After all commands ended the queue has nothing left to wait for.
const DRAIN_MAX: Duration = Duration::from_secs(10);

type Settled = (u64, Result<Value, LaneError>);
/// A command of an earlier run that has ended.
type ResumedEnd = (Resumed, Result<Value, LaneError>);
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
    /// Commands that wait for their storage, or for a full lane that says to wait, in the order of their lines. Nothing is
    /// read while there are as many as there may be.
    entering: VecDeque<Entry>,
    entering_max: usize,
    settled: JoinSet<Settled>,
    /// What outlives the run, and what was in it.
    storage: Option<(Arc<LocalStorage>, Stored)>,
    /// Commands of an earlier run that have not ended, and how they end.
    resumed: usize,
    resumed_ends: Option<mpsc::Receiver<ResumedEnd>>,
    /// Ids of the newest commands whose dead letters tell nothing new: they failed as expected or were stopped. As many
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
    /// Ids of commands whose dead letters are not to be shown.
    pub(crate) unlisted: HashSet<String>,
    /// Commands of an earlier run that this one has gone on with.
    pub(crate) resumed: usize,
    /// Stored commands of a lane or type that this run does not have.
    pub(crate) unclaimed: usize,
    /// Lines whose command is stored, or has ended before.
    pub(crate) known_lines: u64,
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
        storage: Option<(Arc<LocalStorage>, Stored)>,
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
            entering: VecDeque::new(),
            entering_max: if storage.is_some() { STORING_MAX } else { 1 },
            settled: JoinSet::new(),
            storage,
            resumed: 0,
            resumed_ends: None,
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
                if let Err(error) = self.start().await {
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
                Some((resumed, result)) = receive(&mut self.resumed_ends), if self.resumed > 0 => {
                    self.resumed -= 1;
                    self.settle_resumed(&resumed, result);
                }
                (line, answer) = enter(&mut self.entering), if !self.entering.is_empty() => {
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
                let kill = self.shared.kill.clone();
                let is_stored = self.storage.is_some();
                end = Some(Box::pin(async move {
                    tokio::select! {
                        report = manager.shutdown_within(grace) => report,
                        // Stored commands wait for it.
                        () = kill.cancelled(), if is_stored => {
                            manager.shutdown_within(Duration::ZERO).await
                        }
                    }
                }));
            }
        }
        self.finish().await
    }

    fn has_room(&self) -> bool {
        self.entering.len() < self.entering_max
            && self.jobs.len() < self.max
            && self.bytes < IN_FLIGHT_BYTES_MAX
    }

    /// Nothing is left to read, or the lanes have ended; and every command is settled.
    fn is_over(&self, is_reading: bool, has_ended: bool) -> bool {
        if self.shared.board.is_stopped() {
            return has_ended
                && self.settled.is_empty()
                && self.entering.is_empty()
                && self.resumed == 0;
        }
        !is_reading && self.jobs.is_empty() && self.resumed == 0
    }

    /// Starts the lanes, and takes up what an earlier run left in the storage.
    async fn start(&mut self) -> Result<(), LaneError> {
        let Some((_, stored)) = &mut self.storage else {
            return self.manager.start().await;
        };
        let resumed = std::mem::take(&mut stored.resumed);
        self.ended.unclaimed = stored.unclaimed;
        // Nothing may end before its handle is there.
        for lane in &self.lanes {
            self.manager.pause_lane(lane)?;
        }
        self.manager.start().await?;
        let mut handles = Vec::with_capacity(resumed.len());
        for resumed in resumed {
            if let Some(handle) = self.manager.find(&resumed.id).await? {
                self.shared.board.admit(resumed.lane);
                handles.push((resumed, handle));
            }
        }
        for lane in &self.lanes {
            self.manager.resume_lane(lane)?;
        }
        self.resumed = handles.len();
        self.ended.resumed = handles.len();
        if self.resumed > 0 {
            let text = format!("{:<9} {} of an earlier run", "resumed", self.resumed);
            self.shared.progress.note(&text);
        }
        let (ends, receiver) = mpsc::channel(RESUMED_AHEAD);
        self.resumed_ends = Some(receiver);
        tokio::spawn(async move {
            for (resumed, handle) in handles {
                let result = handle.await;
                if ends.send((resumed, result)).await.is_err() {
                    return;
                }
            }
        });
        Ok(())
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
                match self.known(&request).await {
                    Ok(None) => self.submit(*request).await,
                    Ok(Some(why)) => {
                        self.ended.known_lines += 1;
                        let line = request.line;
                        let text = format!("{:<9} line {line}: its command {why}", "known");
                        self.shared.progress.note(&text);
                    }
                    Err(error) => {
                        self.give_up(&error.to_string());
                        return ControlFlow::Break(());
                    }
                }
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

    /// Why a line's command must not run (again): another one with its id is in the storage, or was.
    async fn known(&self, request: &Request) -> Result<Option<&'static str>, LaneError> {
        let (Some((storage, stored)), Some(id)) = (&self.storage, &request.id) else {
            return Ok(None);
        };
        if stored.ids.contains(id) {
            return Ok(Some("was stored by an earlier run"));
        }
        let mut jobs = self.jobs.values();
        if jobs.any(|job| job.request.id.as_ref() == Some(id)) {
            return Ok(Some("is that of an earlier line"));
        }
        if stored.letters.contains(id) {
            return Ok(Some("is a dead letter"));
        }
        let ended = storage.load_result(id).await?.is_some();
        Ok(ended.then_some("has ended before"))
    }

    async fn submit(&mut self, request: Request) {
        let (line, lane) = (request.line, self.lanes[request.lane].clone());
        self.shared.board.admit(request.lane);
        self.bytes += request.bytes;
        let mut options = request.options.clone();
        if self.storage.is_some() && request.expect != Status::Completed {
            options = options.with_metadata(resumed::EXPECT, request.expect.word());
        }
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
            () = std::future::ready(()) => self.entering.push_back((line, answer)),
        }
    }

    /// A command is in its lane, or was refused.
    fn entered(&mut self, line: u64, answer: Result<CommandHandle, Refused>) {
        match answer {
            Ok(handle) => {
                if let Some(job) = self.jobs.get(&line) {
                    job.entered_as(handle.id());
                }
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
        let end = End {
            line: Some(line),
            id: job.id(),
            lane: request.lane,
            kind: &request.kind,
            expect: request.expect,
            description: &job.description,
        };
        self.conclude(&end, job.take_history(), result);
    }

    /// A command of an earlier run has its result.
    fn settle_resumed(&mut self, resumed: &Resumed, result: Result<Value, LaneError>) {
        let end = End {
            line: None,
            id: Some(&resumed.id),
            lane: resumed.lane,
            kind: &resumed.kind,
            expect: resumed.expect,
            description: &resumed.id,
        };
        let history = self.shared.histories.take(&resumed.id);
        self.conclude(&end, history, result);
    }

    fn conclude(&mut self, end: &End<'_>, mut history: History, result: Result<Value, LaneError>) {
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
        let ok = verdict.meets(end.expect);
        let status = verdict.status;
        if matches!(status, Status::Failed | Status::Timeout)
            && !verdict.is_interrupted()
            && let (Some((_, stored)), Some(id)) = (&mut self.storage, end.id)
        {
            // Its outcome may be forgotten sooner than its letter.
            stored.letters.insert(id.to_owned());
        }
        let is_unlisted = (ok && status != Status::Completed) || verdict.is_interrupted();
        self.shared.board.settle(end.lane, status, ok);
        self.ended.unexpected += u64::from(!ok);
        let lane = self.lanes[end.lane].clone();
        let record = Record {
            line: end.line,
            id: end.id.filter(|_| self.storage.is_some()),
            lane: &lane,
            kind: end.kind,
            status,
            ok,
            attempts: history.attempts,
            wait_ms: millis(history.waited),
            run_ms: millis(history.ran),
            result: verdict.result.or(history.evidence),
            error: verdict.error,
            code: verdict.code,
        };
        self.show(end, &record);
        if let Some(results) = &mut self.results
            && let Err(message) = results.write(&record)
        {
            self.results = None;
            self.give_up(&message);
        }
        if is_unlisted
            && self.dlq_size > 0
            && let Some(id) = end.id
        {
            if self.unlisted.len() == self.dlq_size {
                self.unlisted.pop_front();
            }
            self.unlisted.push_back(id.to_owned());
        }
    }

    fn show(&self, end: &End<'_>, record: &Record<'_>) {
        let told = |event: &str, what: &str| {
            let (lane, description) = (record.lane, end.description);
            let source = match end.line {
                Some(line) => format!("line {line}"),
                None => "resumed".to_owned(),
            };
            let text = format!("{event:<9} {source}  {lane}  {description}: {what}");
            self.shared.progress.note(&text);
        };
        let took = quantity::millis(record.run_ms);
        let error = record.error.as_deref().unwrap_or_default();
        match (record.status, record.ok) {
            (Status::NotRun, _) => {}
            (Status::Completed, true) => {
                if self.shared.progress.is_verbose() {
                    told("completed", &format!("in {took}"));
                }
            }
            (Status::Completed, false) => {
                let wanted = end.expect.word();
                told("failed", &format!("completed, but expected: {wanted}"));
            }
            (status, true) => told("expected", &format!("{}: {error}", status.word())),
            (status, false) => told(status.word(), error),
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

/// A command that has ended, whichever run has read it.
struct End<'a> {
    line: Option<u64>,
    /// Absent for a command that was refused.
    id: Option<&'a str>,
    /// Index of the lane in the configuration.
    lane: usize,
    kind: &'a str,
    expect: Status,
    description: &'a str,
}

/// The arms of the loop are only polled while there is something to wait for.
async fn poll<T>(answer: &mut Option<Answer<T>>) -> T {
    match answer {
        Some(answer) => answer.await,
        None => std::future::pending().await,
    }
}

/// Takes out the first that is in its lane, or was refused.
async fn enter(entering: &mut VecDeque<Entry>) -> (u64, Result<CommandHandle, Refused>) {
    // In their order: of those that a storage has kept at once the first enters first.
    let (index, line, answer) = poll_fn(|context| {
        for (index, (line, answer)) in entering.iter_mut().enumerate() {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready((index, *line, answer));
            }
        }
        Poll::Pending
    })
    .await;
    entering.remove(index);
    (line, answer)
}

async fn receive<T>(items: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
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
