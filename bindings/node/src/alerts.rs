//! Alerts on their way to a JavaScript callback.
//!
//! The queue raises them on whatever thread notices, and must not wait: they collect here until JavaScript takes them.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use a3s_lane::LaneError;
use a3s_lane::alerts::{
    Alert, AlertLevel, AlertManager, LatencyAlertConfig, QueueDepthAlertConfig,
};
use napi::Result;
use napi::bindgen_prelude::Function;
use napi_derive::napi;

use crate::fault::{Code, Fault, guard};
use crate::lane::NativeLane;
use crate::range::{MAX, whole};
use crate::signal::Signal;

/// How many alerts wait for JavaScript at most. Then the oldest goes.
const CAPACITY: usize = 1_024;

/// From when on alerts are raised: types are checked, ranges are not.
#[napi(object, object_to_js = false)]
#[derive(Default)]
pub struct NativeThresholds {
    /// Waiting commands of a lane from which on there is a warning.
    pub depth_warning: Option<f64>,
    /// Waiting commands of a lane from which on the alert is critical.
    pub depth_critical: Option<f64>,
    /// Milliseconds of a completed command from which on there is a warning.
    pub latency_warning_ms: Option<f64>,
    /// Milliseconds of a completed command from which on the alert is critical.
    pub latency_critical_ms: Option<f64>,
}

impl NativeThresholds {
    pub(crate) fn resolve(&self) -> std::result::Result<AlertManager, Fault> {
        let manager = AlertManager::new();
        let config = self.checked().map_err(LaneError::ConfigError)?;
        now(manager.set_queue_depth_config(config.0));
        now(manager.set_latency_config(config.1));
        Ok(manager)
    }

    fn checked(&self) -> std::result::Result<(QueueDepthAlertConfig, LatencyAlertConfig), String> {
        let depth = |field: &str, value: Option<f64>| {
            let field = format!("alerts.queueDepth.{field}");
            let checked = value
                .map(|value| whole(&field, value, 1, MAX))
                .transpose()?;
            Ok::<_, String>(checked.map(|depth| depth as usize))
        };
        let time = |field: &str, value: Option<f64>| match value {
            Some(ms) if !(ms > 0.0 && ms <= f64::from(MAX)) => Err(format!(
                "alerts.latency.{field} must be a number above 0 and up to {MAX} (got {ms})"
            )),
            _ => Ok(value),
        };
        let depths = (
            depth("warningThreshold", self.depth_warning)?,
            depth("criticalThreshold", self.depth_critical)?,
        );
        let times = (
            time("warningThresholdMs", self.latency_warning_ms)?,
            time("criticalThresholdMs", self.latency_critical_ms)?,
        );
        let depths = match depths {
            (None, None) => QueueDepthAlertConfig::disabled(),
            (warning, critical) => QueueDepthAlertConfig::new(
                warning.unwrap_or(usize::MAX),
                critical.unwrap_or(usize::MAX),
            ),
        };
        let times = match times {
            (None, None) => LatencyAlertConfig::disabled(),
            (warning, critical) => LatencyAlertConfig::new(
                warning.unwrap_or(f64::INFINITY),
                critical.unwrap_or(f64::INFINITY),
            ),
        };
        if !depths.enabled && !times.enabled {
            return Err("alerts must have a threshold of queueDepth or latency (got none)".into());
        }
        Ok((depths, times))
    }
}

/// The methods of an [`AlertManager`] never wait.
fn now(change: impl Future<Output = ()>) {
    let _ready = pin!(change).poll(&mut Context::from_waker(Waker::noop()));
}

/// One alert about one lane.
#[napi(object, object_from_js = false)]
pub struct NativeAlert {
    /// `info`, `warning` or `critical`.
    pub level: String,
    /// The lane it is about.
    pub lane_id: String,
    /// A sentence for people.
    pub message: String,
    /// The depth in commands, or the latency in milliseconds.
    pub current_value: f64,
    /// The threshold that was reached.
    pub threshold: f64,
    /// How many alerts right before this one were lost.
    pub missed: f64,
}

/// Alerts that JavaScript has not taken yet.
struct Waiting {
    signal: Signal,
    alerts: Mutex<Alerts>,
}

#[derive(Default)]
struct Alerts {
    list: VecDeque<Alert>,
    /// Lost before the first of the list.
    missed: usize,
}

impl Alerts {
    fn push(&mut self, alert: Alert) {
        if self.list.len() >= CAPACITY {
            self.list.pop_front();
            self.missed += 1;
        }
        self.list.push_back(alert);
    }

    fn take(&mut self) -> Vec<NativeAlert> {
        let mut missed = std::mem::take(&mut self.missed);
        let native = |alert: Alert| NativeAlert {
            level: word(alert.level).to_owned(),
            lane_id: alert.lane_id,
            message: alert.message,
            current_value: alert.current_value,
            threshold: alert.threshold,
            missed: std::mem::take(&mut missed) as f64,
        };
        self.list.drain(..).map(native).collect()
    }
}

impl Waiting {
    fn push(&self, alert: Alert) {
        self.lock().push(alert);
        self.signal.ask();
    }

    fn lock(&self) -> MutexGuard<'_, Alerts> {
        // A panic inside the lock leaves plain data behind, so a poisoned lock is as good as any.
        self.alerts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The alerts of one lane.
#[napi]
pub struct NativeAlerts {
    waiting: Arc<Waiting>,
}

#[napi]
impl NativeAlerts {
    /// All that were raised since the last call, in order.
    #[napi]
    pub fn take(&self) -> Result<Vec<NativeAlert>, Code> {
        guard(|| {
            self.waiting.signal.begin();
            let alerts = self.waiting.lock().take();
            self.waiting.signal.end();
            Ok(alerts)
        })
    }
}

#[napi]
impl NativeLane {
    /// Calls `wake` on this JavaScript thread whenever there are alerts to take.
    #[napi]
    pub fn alerts(&self, wake: Function<'_, (), ()>) -> Result<NativeAlerts, Code> {
        guard(|| {
            let none = || LaneError::QueueError("the lane raises no alerts".into());
            let manager = self.queue.manager()?.alerts().ok_or_else(none)?;
            let waiting = Arc::new(Waiting {
                signal: Signal::new(&wake)?,
                alerts: Mutex::default(),
            });
            let raised = Arc::clone(&waiting);
            now(manager.add_callback(move |alert| raised.push(alert)));
            Ok(NativeAlerts { waiting })
        })
    }
}

fn word(level: AlertLevel) -> &'static str {
    match level {
        AlertLevel::Info => "info",
        AlertLevel::Warning => "warning",
        AlertLevel::Critical => "critical",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(value: f64) -> Alert {
        Alert {
            level: AlertLevel::Critical,
            lane_id: "a".into(),
            message: "deep".into(),
            current_value: value,
            threshold: 1.0,
        }
    }

    #[test]
    fn i10_the_oldest_alerts_go_and_are_counted() {
        let mut alerts = Alerts::default();
        for value in 0..CAPACITY + 2 {
            alerts.push(alert(value as f64));
        }
        let taken = alerts.take();
        assert_eq!(taken.len(), CAPACITY);
        let shown = |alert: &NativeAlert| (alert.current_value, alert.missed, alert.level.clone());
        assert_eq!(shown(&taken[0]), (2.0, 2.0, "critical".into()));
        assert_eq!(shown(&taken[1]), (3.0, 0.0, "critical".into()));
        assert!(alerts.take().is_empty());
        alerts.push(alert(7.0));
        assert_eq!(shown(&alerts.take()[0]), (7.0, 0.0, "critical".into()));
    }

    #[test]
    fn every_threshold_arrives() {
        let (depths, times) = NativeThresholds {
            depth_warning: Some(1.0),
            depth_critical: Some(2.0),
            latency_warning_ms: Some(0.5),
            latency_critical_ms: Some(4.0),
        }
        .checked()
        .expect("all values are in range");
        assert_eq!(depths, QueueDepthAlertConfig::new(1, 2));
        assert_eq!(times, LatencyAlertConfig::new(0.5, 4.0));
    }

    #[test]
    fn what_is_left_out_is_never_reached() {
        let (depths, times) = NativeThresholds {
            depth_critical: Some(2.0),
            ..NativeThresholds::default()
        }
        .checked()
        .expect("one is enough");
        assert_eq!(depths, QueueDepthAlertConfig::new(usize::MAX, 2));
        assert_eq!(times, LatencyAlertConfig::disabled());
        let (depths, times) = NativeThresholds {
            latency_warning_ms: Some(2.0),
            ..NativeThresholds::default()
        }
        .checked()
        .expect("one is enough");
        assert_eq!(depths, QueueDepthAlertConfig::disabled());
        assert_eq!(times, LatencyAlertConfig::new(2.0, f64::INFINITY));
    }
}
