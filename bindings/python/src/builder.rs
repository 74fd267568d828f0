//! From arguments to a queue that is ready to be built.

use std::collections::HashSet;

use a3s_lane::{EventEmitter, QueueManagerBuilder, lane_ids};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::argument;
use crate::lane_config::LaneConfig;

/// How many events a slow reader may lag behind.
const EVENT_CAPACITY: usize = 100;

/// A queue to build and the names of its lanes, most urgent first.
pub(crate) struct Plan {
    pub(crate) builder: QueueManagerBuilder,
    pub(crate) order: Vec<String>,
}

/// The default lanes.
pub(crate) fn default_lanes(dlq_size: Option<&Bound<'_, PyAny>>) -> PyResult<Plan> {
    let order = [
        lane_ids::SYSTEM,
        lane_ids::CONTROL,
        lane_ids::QUERY,
        lane_ids::SESSION,
        lane_ids::SKILL,
        lane_ids::PROMPT,
    ];
    Ok(Plan {
        builder: builder(dlq_size)?.with_default_lanes(),
        order: order.map(str::to_owned).to_vec(),
    })
}

/// The lanes of `configs`, which are copied.
pub(crate) fn lanes_of(
    configs: &Bound<'_, PyAny>,
    dlq_size: Option<&Bound<'_, PyAny>>,
) -> PyResult<Plan> {
    let mut configs = read_configs(configs)?;
    let mut builder = builder(dlq_size)?;
    for config in &configs {
        builder = builder.with_lane(config.lane_id.clone(), config.to_core(), config.priority);
    }
    configs.sort_by_key(|config| config.priority);
    Ok(Plan {
        builder,
        order: configs.into_iter().map(|config| config.lane_id).collect(),
    })
}

fn builder(dlq_size: Option<&Bound<'_, PyAny>>) -> PyResult<QueueManagerBuilder> {
    let builder = QueueManagerBuilder::new(EventEmitter::new(EVENT_CAPACITY));
    let Some(size) = dlq_size else {
        return Ok(builder);
    };
    let size = argument::integer("dlq_size", size, 1..=u64::from(u32::MAX))?;
    Ok(builder.with_dlq(usize::try_from(size).unwrap_or(usize::MAX)))
}

fn read_configs(configs: &Bound<'_, PyAny>) -> PyResult<Vec<LaneConfig>> {
    let items = configs
        .try_iter()
        .map_err(|_| argument::wrong_class("configs", "list of LaneConfig", configs))?;
    let mut read: Vec<LaneConfig> = Vec::new();
    let mut ids = HashSet::new();
    for (index, item) in items.enumerate() {
        let item = item?;
        let config = item
            .cast::<LaneConfig>()
            .map_err(|_| argument::wrong_class(&format!("configs[{index}]"), "LaneConfig", &item))?
            .borrow()
            .clone();
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
