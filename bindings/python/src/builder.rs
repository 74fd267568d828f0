//! From arguments to a queue that is ready to be built.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use a3s_lane::{EventEmitter, QueueManagerBuilder, lane_ids, priorities};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::argument;
use crate::lane_config::LaneConfig;
use crate::limiter;
use crate::queue::LanePlace;
use crate::threads::DEFAULT_LIMIT;

/// How many events a slow reader may lag behind.
const EVENT_CAPACITY: usize = 100;

const FROM_ONE: RangeInclusive<u32> = 1..=u32::MAX;

/// A queue to build and its lanes.
pub(crate) struct Plan {
    pub(crate) builder: QueueManagerBuilder,
    pub(crate) lanes: Vec<LanePlace>,
    pub(crate) handler_threads: usize,
}

/// What concerns all lanes together.
pub(crate) struct Shared<'a, 'py> {
    pub(crate) dlq_size: Option<&'a Bound<'py, PyAny>>,
    pub(crate) max_concurrency: Option<&'a Bound<'py, PyAny>>,
    pub(crate) limiters: Option<&'a Bound<'py, PyAny>>,
    pub(crate) handler_threads: Option<&'a Bound<'py, PyAny>>,
}

/// The default lanes.
pub(crate) fn default_lanes(shared: &Shared<'_, '_>) -> PyResult<Plan> {
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
    };
    Ok(Plan {
        builder: shared.builder()?.with_default_lanes(),
        lanes: lanes.into_iter().map(place).collect(),
        handler_threads: shared.handler_threads()?,
    })
}

/// The lanes of `configs`, which are copied.
pub(crate) fn lanes_of(configs: &Bound<'_, PyAny>, shared: &Shared<'_, '_>) -> PyResult<Plan> {
    let configs = read_configs(configs)?;
    let mut builder = shared.builder()?;
    for config in &configs {
        builder = builder
            .with_lane(config.lane_id.clone(), config.to_core(), config.priority)
            .with_lane_options(config.lane_id.clone(), config.to_core_options());
    }
    let place = |config: LaneConfig| LanePlace {
        id: config.lane_id,
        priority: config.priority,
    };
    Ok(Plan {
        builder,
        lanes: configs.into_iter().map(place).collect(),
        handler_threads: shared.handler_threads()?,
    })
}

impl Shared<'_, '_> {
    fn handler_threads(&self) -> PyResult<usize> {
        self.handler_threads.map_or(Ok(DEFAULT_LIMIT), |threads| {
            argument::count("handler_threads", threads, FROM_ONE)
        })
    }

    fn builder(&self) -> PyResult<QueueManagerBuilder> {
        let mut builder = QueueManagerBuilder::new(EventEmitter::new(EVENT_CAPACITY));
        if let Some(size) = self.dlq_size {
            builder = builder.with_dlq(argument::count("dlq_size", size, FROM_ONE)?);
        }
        if let Some(total) = max_concurrency(self.max_concurrency)? {
            builder = builder.with_max_concurrency(total);
        }
        if let Some(limiters) = self.limiters {
            for (name, config) in limiter::named(limiters)? {
                builder = builder.with_limiter(name, config);
            }
        }
        Ok(builder)
    }
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
