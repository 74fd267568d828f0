//! Retries as JavaScript passes them.

use a3s_lane::{Jitter, RetryPolicy};
use napi_derive::napi;

use crate::range::{MAX, choice, millis, whole};

/// Retries of a lane or of one command.
#[napi(object, object_to_js = false)]
pub struct NativeRetryPolicy {
    /// Retries after the first attempt.
    pub max_retries: f64,
    /// Default 100.
    pub initial_delay_ms: Option<f64>,
    /// Default 30,000.
    pub max_delay_ms: Option<f64>,
    /// Default 2.
    pub multiplier: Option<f64>,
}

impl NativeRetryPolicy {
    /// The policy; the error names the field under `parent`.
    pub(crate) fn checked(&self, parent: &str) -> Result<RetryPolicy, String> {
        let field = |name: &str| format!("{parent}.{name}");
        let retries = whole(&field("maxRetries"), self.max_retries, 0, MAX)?;
        let mut policy = RetryPolicy::exponential(retries);
        if let Some(delay) = self.initial_delay_ms {
            policy.initial_delay = millis(&field("initialDelayMs"), delay)?;
        }
        if let Some(delay) = self.max_delay_ms {
            policy.max_delay = millis(&field("maxDelayMs"), delay)?;
        }
        if let Some(multiplier) = self.multiplier {
            policy.multiplier = multiplier;
        }
        if retries > 0 && policy.max_delay < policy.initial_delay {
            return Err(format!(
                "{} must be at least initialDelayMs, got {} and {}",
                field("maxDelayMs"),
                policy.max_delay.as_millis(),
                policy.initial_delay.as_millis()
            ));
        }
        Ok(policy)
    }
}

/// How much of a retry's delay is left to chance.
pub(crate) fn jitter(field: &str, word: &str) -> Result<Jitter, String> {
    let known = [
        ("none", Jitter::None),
        ("full", Jitter::Full),
        ("equal", Jitter::Equal),
    ];
    choice(field, word, &known)
}
