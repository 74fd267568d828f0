//! What outlives the process.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use a3s_lane::storage::{HistoryFilter, LocalStorage, Retention};
use a3s_lane::{Durability, LaneError, LaneStatus, QueueManagerBuilder};
use napi::bindgen_prelude::Object;
use napi::{Env, Result};
use napi_derive::napi;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::admission::Ticket;
use crate::event::number;
use crate::fault::{Code, Fault, guard};
use crate::handle::{NativeAnswer, NativeHandle};
use crate::lane::NativeLane;
use crate::outcome::{promise, promise_of};
use crate::queue::Queue;
use crate::range::{MAX, choice, large, whole};
use crate::runtime::runtime;

/// How long the end of the process waits for the storage to learn what has not ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Where commands are kept, and how: types are checked, ranges are not.
#[napi(object, object_to_js = false)]
#[derive(Default)]
pub struct NativeStorage {
    /// Without it all others are errors.
    pub directory: Option<String>,
    /// `full`, the default, or `relaxed`.
    pub durability: Option<String>,
    /// Default 3.
    pub max_crashes: Option<f64>,
    /// Default: no results are kept.
    pub results: Option<NativeRetention>,
    /// Default: no history is kept.
    pub history: Option<NativeRetention>,
    /// Default 10,000.
    pub max_dead_letters: Option<f64>,
}

/// How much is kept of what is over.
#[napi(object, object_to_js = false)]
#[derive(Default)]
pub struct NativeRetention {
    /// Default: seven days.
    pub max_age_ms: Option<f64>,
    /// Default 100,000.
    pub max_count: Option<f64>,
}

/// The settings, checked.
#[derive(Debug, PartialEq)]
struct Checked {
    directory: PathBuf,
    durability: Durability,
    max_crashes: Option<u32>,
    results: Option<Retention>,
    history: Option<Retention>,
    max_dead_letters: Option<usize>,
}

impl NativeStorage {
    /// Opens the directory, and hands it to the builder. Blocks.
    pub(crate) fn apply(
        &self,
        builder: QueueManagerBuilder,
    ) -> std::result::Result<(QueueManagerBuilder, Arc<LocalStorage>), Fault> {
        let checked = self.checked().map_err(LaneError::ConfigError)?;
        let opened = runtime()?.block_on(LocalStorage::new(checked.directory));
        let mut storage = opened.map_err(|error| match error {
            LaneError::Storage(text) => LaneError::Storage(format!("storage: {text}")),
            other => other,
        })?;
        storage = storage.with_durability(checked.durability);
        if let Some(retention) = checked.results {
            storage = storage.with_results(retention);
        }
        if let Some(retention) = checked.history {
            storage = storage.with_history(retention);
        }
        if let Some(count) = checked.max_dead_letters {
            storage = storage.with_max_dead_letters(count);
        }
        let storage = Arc::new(storage);
        let mut builder = builder.with_storage(storage.clone());
        if let Some(crashes) = checked.max_crashes {
            builder = builder.with_max_crashes(crashes);
        }
        Ok((builder, storage))
    }

    fn checked(&self) -> std::result::Result<Checked, String> {
        let Some(directory) = self.directory.as_ref() else {
            let others = [
                ("durability", self.durability.is_some()),
                ("maxCrashes", self.max_crashes.is_some()),
                ("results", self.results.is_some()),
                ("history", self.history.is_some()),
                ("maxDeadLetters", self.max_dead_letters.is_some()),
            ];
            let given = others.iter().find(|(_, is_given)| *is_given);
            let name = given.map_or("storage", |(name, _)| name);
            return Err(format!("{name} needs the option storage"));
        };
        if directory.is_empty() {
            return Err("storage must not be empty".to_owned());
        }
        let words = [("full", Durability::Full), ("relaxed", Durability::Relaxed)];
        let durability = self.durability.as_deref();
        let retention = |name, kept: &Option<NativeRetention>| {
            let kept = kept.as_ref();
            kept.map(|kept| kept.checked(name)).transpose()
        };
        Ok(Checked {
            directory: directory.into(),
            durability: durability.map_or(Ok(Durability::Full), |word| {
                choice("durability", word, &words)
            })?,
            max_crashes: self
                .max_crashes
                .map(|count| whole("maxCrashes", count, 1, MAX))
                .transpose()?,
            results: retention("results", &self.results)?,
            history: retention("history", &self.history)?,
            max_dead_letters: self
                .max_dead_letters
                .map(|count| whole("maxDeadLetters", count, 0, MAX).map(|count| count as usize))
                .transpose()?,
        })
    }
}

impl NativeRetention {
    fn checked(&self, name: &str) -> std::result::Result<Retention, String> {
        let mut retention = Retention::new();
        if let Some(age) = self.max_age_ms {
            let age = large(&format!("{name}.maxAgeMs"), age, 1)?;
            retention = retention.with_max_age(Duration::from_millis(age));
        }
        if let Some(count) = self.max_count {
            let count = whole(&format!("{name}.maxCount"), count, 0, MAX)?;
            retention = retention.with_max_count(count as usize);
        }
        Ok(retention)
    }
}

/// What is left of a submission.
pub(crate) type Rest = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Commands on their way into the storage enter their lane in the order of their submission, whatever order the storage
/// answers in.
#[derive(Default)]
pub(crate) struct Storing(Mutex<HashMap<String, UnboundedSender<Rest>>>);

impl Storing {
    /// Drives a submission, after those that came before it in its lane.
    pub(crate) fn drive(&self, lane_id: &str, rest: Rest) -> std::result::Result<(), Fault> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = match lanes.get(lane_id) {
            Some(lane) => match lane.send(rest) {
                Ok(()) => return Ok(()),
                Err(refused) => refused.0,
            },
            None => rest,
        };
        let (lane, mut submissions) = unbounded_channel::<Rest>();
        // Its receiver is here.
        let _ = lane.send(rest);
        lanes.insert(lane_id.to_owned(), lane);
        runtime()?.spawn(async move {
            while let Some(rest) = submissions.recv().await {
                rest.await;
            }
        });
        Ok(())
    }
}

#[napi]
impl NativeLane {
    /// As `start`, without blocking.
    #[napi(ts_return_type = "Promise<NativeOutcome>")]
    pub fn start_async<'env>(&self, env: &'env Env) -> Result<Object<'env>, Code> {
        guard(|| {
            let queue = Arc::clone(&self.queue);
            promise(env, runtime()?, async move {
                queue.manager()?.start().await?;
                queue.started.store(true, Ordering::Relaxed);
                Ok(None)
            })
        })
    }

    /// Stored commands that cannot enter their lanes, as JSON text.
    #[napi(ts_return_type = "Promise<NativeOutcome>")]
    pub fn unclaimed<'env>(&self, env: &'env Env) -> Result<Object<'env>, Code> {
        guard(|| {
            let queue = Arc::clone(&self.queue);
            promise(env, runtime()?, async move {
                let unclaimed = queue.manager()?.unclaimed().await?;
                Ok(Some(serde_json::to_string(&unclaimed)?))
            })
        })
    }

    /// A command of this process or an earlier one; no handle when there is none.
    #[napi(ts_return_type = "Promise<NativeAnswer>")]
    pub fn find<'env>(&self, env: &'env Env, command_id: String) -> Result<Object<'env>, Code> {
        guard(|| {
            self.queue.storage("find")?;
            let queue = Arc::clone(&self.queue);
            let finding = async move {
                let found = queue.manager()?.find(&command_id).await?;
                Ok(found.map(|handle| NativeHandle::new(&queue, Ticket::In(handle))))
            };
            promise_of(env, runtime()?, finding, NativeAnswer::of)
        })
    }

    /// What has happened to commands, as JSON text; `filter` is the core's, as JSON text.
    #[napi(ts_return_type = "Promise<NativeOutcome>")]
    pub fn history<'env>(&self, env: &'env Env, filter: String) -> Result<Object<'env>, Code> {
        guard(|| {
            let storage = Arc::clone(self.queue.storage("history")?);
            let filter: HistoryFilter = serde_json::from_str(&filter)?;
            promise(env, runtime()?, async move {
                let entries = storage.load_history(&filter).await?;
                Ok(Some(serde_json::to_string(&entries)?))
            })
        })
    }

    /// Ends the queue at once, and the use of its storage.
    #[napi(ts_return_type = "Promise<NativeOutcome>")]
    pub fn close<'env>(&self, env: &'env Env) -> Result<Object<'env>, Code> {
        guard(|| {
            let queue = Arc::clone(&self.queue);
            promise(env, runtime()?, async move {
                queue.manager()?.close().await?;
                Ok(None)
            })
        })
    }

    /// What a directory holds, as JSON text. Reads all of it.
    #[napi(ts_return_type = "Promise<NativeOutcome>")]
    pub fn inspect_storage(env: &Env, directory: String) -> Result<Object<'_>, Code> {
        guard(|| {
            if directory.is_empty() {
                return Err(Fault::invalid_argument("directory must not be empty"));
            }
            promise(env, runtime()?, async move {
                let found = LocalStorage::inspect(directory.into()).await?;
                Ok(Some(serde_json::to_string(&found)?))
            })
        })
    }

    /// How many commands run. Asks no storage, as `stats` does.
    #[napi]
    pub fn active(&self) -> Result<f64, Code> {
        guard(|| Ok(number(self.queue.load()?.1)))
    }

    /// The process ends: what runs is stopped, and the storage learns that it was. Blocks.
    #[napi]
    pub fn end_now(&self) -> Result<(), Code> {
        guard(|| self.queue.end_now())
    }
}

impl Queue {
    /// An error that names what needs it when there is none.
    pub(crate) fn storage(&self, what: &str) -> std::result::Result<&Arc<LocalStorage>, Fault> {
        let missing = || LaneError::ConfigError(format!("{what} needs the option storage"));
        Ok(self.storage.as_ref().ok_or_else(missing)?)
    }

    /// How many commands wait, and how many run.
    pub(crate) fn load(&self) -> std::result::Result<(usize, usize), Fault> {
        let status = runtime()?.block_on(self.manager()?.queue().status());
        let sum =
            |(pending, active), lane: &LaneStatus| (pending + lane.pending, active + lane.active);
        Ok(status.values().fold((0, 0), sum))
    }

    fn end_now(&self) -> std::result::Result<(), Fault> {
        let (runtime, manager) = (runtime()?, self.manager()?);
        let ending = async {
            tokio::time::timeout(LAST_WORDS, manager.shutdown_within(Duration::ZERO)).await
        };
        let mut ending = pin!(ending);
        let Some(bridge) = self.hosted() else {
            _ = runtime.block_on(ending);
            return Ok(());
        };
        // Attempts of this thread end on it.
        loop {
            bridge.within(|| ());
            let mut asked = pin!(bridge.asked());
            let ended = runtime.block_on(poll_fn(|cx| {
                if ending.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(true);
                }
                asked.as_mut().poll(cx).map(|()| false)
            }));
            if ended {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_arrives() {
        let kept = |age, count| NativeRetention {
            max_age_ms: Some(age),
            max_count: Some(count),
        };
        let settings = NativeStorage {
            directory: Some("here".into()),
            durability: Some("relaxed".into()),
            max_crashes: Some(1.0),
            results: Some(kept(2.0, 3.0)),
            history: Some(kept(4.0, 5.0)),
            max_dead_letters: Some(6.0),
        };
        let retention = |age, count| {
            let retention = Retention::new().with_max_age(Duration::from_millis(age));
            Some(retention.with_max_count(count))
        };
        let expected = Checked {
            directory: "here".into(),
            durability: Durability::Relaxed,
            max_crashes: Some(1),
            results: retention(2, 3),
            history: retention(4, 5),
            max_dead_letters: Some(6),
        };
        assert_eq!(settings.checked(), Ok(expected));
    }

    /// What it costs cannot be seen from outside without measuring time.
    #[test]
    fn the_storage_has_the_durability() {
        let directory = std::env::temp_dir().join(format!("a3s-lane-{}", uuid::Uuid::new_v4()));
        for (word, shown) in [(None, "Full"), (Some("relaxed"), "Relaxed")] {
            let settings = NativeStorage {
                directory: directory.to_str().map(str::to_owned),
                durability: word.map(str::to_owned),
                ..NativeStorage::default()
            };
            let builder = QueueManagerBuilder::new(a3s_lane::EventEmitter::new(1));
            let (_, storage) = settings.apply(builder).expect("a new directory");
            let text = format!("{storage:?}");
            assert!(text.contains(&format!("durability: {shown}")), "{text}");
        }
        std::fs::remove_dir_all(directory).expect("it is there");
    }

    #[test]
    fn errors_name_the_option() {
        let refused = |change: fn(&mut NativeStorage)| {
            let mut settings = NativeStorage {
                directory: Some("here".into()),
                ..NativeStorage::default()
            };
            change(&mut settings);
            settings.checked().expect_err("it is wrong")
        };
        for (name, text) in [
            (
                "storage must",
                refused(|it| it.directory = Some(String::new())),
            ),
            (
                "durability must",
                refused(|it| it.durability = Some("total".into())),
            ),
            ("maxCrashes must", refused(|it| it.max_crashes = Some(0.0))),
            (
                "maxDeadLetters must",
                refused(|it| it.max_dead_letters = Some(-1.0)),
            ),
            (
                "results.maxAgeMs must",
                refused(|it| {
                    it.results = Some(NativeRetention {
                        max_age_ms: Some(0.0),
                        max_count: None,
                    });
                }),
            ),
            (
                "history.maxCount must",
                refused(|it| {
                    it.history = Some(NativeRetention {
                        max_age_ms: None,
                        max_count: Some(0.5),
                    });
                }),
            ),
            (
                "maxCrashes needs the option storage",
                refused(|it| {
                    it.directory = None;
                    it.max_crashes = Some(1.0);
                }),
            ),
        ] {
            assert!(text.starts_with(name), "{text}");
        }
    }
}
