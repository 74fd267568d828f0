//! From arguments to a queue that is ready to be built.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use a3s_lane::metrics::QueueMetrics;
use a3s_lane::{EventEmitter, QueueManagerBuilder, lane_ids, priorities};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict};

use crate::alerts::AlertManager;
use crate::argument;
use crate::lane_config::LaneConfig;
use crate::limiter;
use crate::queue::LanePlace;
use crate::storage::StorageArguments;
use crate::threads::DEFAULT_LIMIT;

/// How many events a slow reader may lag behind, if nothing else is said.
const EVENT_CAPACITY: usize = 100;

/// A ring of that many slots is made at once.
const EVENT_CAPACITIES: RangeInclusive<u32> = 1..=1_000_000;

const FROM_ONE: RangeInclusive<u32> = 1..=u32::MAX;

/// A queue to build and its lanes.
pub(crate) struct Plan {
    pub(crate) builder: QueueManagerBuilder,
    pub(crate) lanes: Vec<LanePlace>,
    pub(crate) handler_threads: usize,
    pub(crate) alerts: Option<Py<AlertManager>>,
    pub(crate) storage: StorageArguments,
    /// Submissions wait until their commands have run.
    pub(crate) inline: bool,
}

impl Plan {
    /// The settings of `callee` that concern all lanes together.
    fn new(callee: &str, settings: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        // The builder begins with it.
        let capacity = match settings {
            None => None,
            Some(settings) => settings.get_item("event_capacity")?,
        };
        let capacity = capacity
            .filter(|capacity| !capacity.is_none())
            .map(|capacity| argument::count("event_capacity", &capacity, EVENT_CAPACITIES))
            .transpose()?;
        let emitter = EventEmitter::new(capacity.unwrap_or(EVENT_CAPACITY));
        let mut plan = Self {
            builder: QueueManagerBuilder::new(emitter),
            lanes: Vec::new(),
            handler_threads: DEFAULT_LIMIT,
            alerts: None,
            storage: StorageArguments::default(),
            inline: false,
        };
        for (name, value) in settings.into_iter().flatten() {
            let name = argument::text("the name of a setting", &name)?;
            plan = plan
                .set(&name, &value)?
                .ok_or_else(|| argument::unexpected(callee, &name))?;
        }
        plan.storage.check()?;
        Ok(plan)
    }

    /// With what is given by keyword; `None` when there is nothing of this name.
    fn set(mut self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        match (name, argument::given(value)) {
            ("dlq_size", Some(size)) => {
                let size = argument::count(name, size, FROM_ONE)?;
                self.builder = self.builder.with_dlq(size);
            }
            ("max_concurrency", Some(total)) => {
                let total = argument::count(name, total, FROM_ONE)?;
                self.builder = self.builder.with_max_concurrency(total);
            }
            ("limiters", Some(limiters)) => {
                for (name, config) in limiter::named(limiters)? {
                    self.builder = self.builder.with_limiter(name, config);
                }
            }
            ("handler_threads", Some(threads)) => {
                self.handler_threads = argument::count(name, threads, FROM_ONE)?;
            }
            ("metrics", _) => {
                if argument::flag(name, value)? {
                    self.builder = self.builder.with_metrics(QueueMetrics::local());
                }
            }
            ("alerts", Some(alerts)) => {
                let known = alerts
                    .cast::<AlertManager>()
                    .map_err(|_| argument::wrong_class(name, "AlertManager or None", alerts))?;
                self.builder = self.builder.with_alerts(known.get().core(value.py())?);
                self.alerts = Some(known.clone().unbind());
            }
            ("event_capacity", _) => {}
            ("dlq_size" | "max_concurrency" | "limiters" | "handler_threads" | "alerts", None) => {}
            _ if self.storage.set(name, value)? => {}
            _ => return Ok(None),
        }
        Ok(Some(self))
    }
}

/// The default lanes.
pub(crate) fn default_lanes(callee: &str, settings: Option<&Bound<'_, PyDict>>) -> PyResult<Plan> {
    let lanes = [
        (lane_ids::SYSTEM, priorities::SYSTEM),
        (lane_ids::CONTROL, priorities::CONTROL),
        (lane_ids::QUERY, priorities::QUERY),
        (lane_ids::SESSION, priorities::SESSION),
        (lane_ids::SKILL, priorities::SKILL),
        (lane_ids::PROMPT, priorities::PROMPT),
    ];
    let place = |(id, priority): (&str, u8)| LanePlace {
        id: id.to_owned(),
        priority,
        waits: false,
    };
    let plan = Plan::new(callee, settings)?;
    Ok(Plan {
        builder: plan.builder.with_default_lanes(),
        lanes: lanes.into_iter().map(place).collect(),
        ..plan
    })
}

/// The lanes of `configs`, which are copied.
pub(crate) fn lanes_of(
    configs: &Bound<'_, PyAny>,
    callee: &str,
    settings: Option<&Bound<'_, PyDict>>,
) -> PyResult<Plan> {
    let configs = read_configs(configs)?;
    let mut plan = Plan::new(callee, settings)?;
    for config in configs {
        plan.builder = plan
            .builder
            .with_lane(config.lane_id.clone(), config.to_core(), config.priority)
            .with_lane_options(config.lane_id.clone(), config.to_core_options());
        plan.lanes.push(LanePlace {
            waits: config.waits(),
            id: config.lane_id,
            priority: config.priority,
        });
    }
    Ok(plan)
}

/// The most commands that run at once, over all lanes.
pub(crate) fn max_concurrency(total: Option<&Bound<'_, PyAny>>) -> PyResult<Option<usize>> {
    total
        .map(|total| argument::count("max_concurrency", total, FROM_ONE))
        .transpose()
}

/// A `LaneConfig`, which is copied.
pub(crate) fn read_config(field: &str, value: &Bound<'_, PyAny>) -> PyResult<LaneConfig> {
    let config = value
        .cast::<LaneConfig>()
        .map_err(|_| argument::wrong_class(field, "LaneConfig", value))?;
    Ok(config.borrow().clone())
}

fn read_configs(configs: &Bound<'_, PyAny>) -> PyResult<Vec<LaneConfig>> {
    let items = configs
        .try_iter()
        .map_err(|_| argument::wrong_class("configs", "list of LaneConfig", configs))?;
    let mut read: Vec<LaneConfig> = Vec::new();
    let mut ids = HashSet::new();
    for (index, item) in items.enumerate() {
        let config = read_config(&format!("configs[{index}]"), &item?)?;
        if !ids.insert(config.lane_id.clone()) {
            return Err(PyValueError::new_err(format!(
                "configs[{index}].lane_id must be unique, got {:?} again",
                config.lane_id
            )));
        }
        read.push(config);
    }
    if read.is_empty() {
        return Err(PyValueError::new_err(
            "configs must hold at least one LaneConfig",
        ));
    }
    Ok(read)
}
