//! A named limiter as a configuration file writes it.

use std::time::Duration;

use a3s_lane::{LimiterConfig, RateLimitConfig};
use serde::Deserialize;
use toml::Spanned;

use crate::lane_text::{Refused, at_least_one, refuse};

/// The keys of `[limiters.NAME]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimiterText {
    #[serde(default)]
    kind: Kind,
    max_commands: Spanned<u64>,
    window_ms: Spanned<u64>,
    burst: Option<Spanned<u64>>,
    #[serde(default)]
    counts: Counts,
    reserve: Option<ReserveText>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    TokenBucket,
    SlidingWindow,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Counts {
    #[default]
    Cost,
    Commands,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReserveText {
    amount: Spanned<u64>,
    urgent_up_to: u8,
}

/// The settings of a limiter.
pub(crate) fn limiter_config(limiter: &LimiterText) -> Result<LimiterConfig, Refused> {
    for value in [&limiter.max_commands, &limiter.window_ms] {
        at_least_one(value)?;
    }
    let window = Duration::from_millis(*limiter.window_ms.get_ref());
    let limit = RateLimitConfig::new(*limiter.max_commands.get_ref(), window);
    let mut config = match limiter.kind {
        Kind::TokenBucket => LimiterConfig::token_bucket(limit),
        Kind::SlidingWindow => LimiterConfig::sliding_window(limit),
    };
    if let Some(burst) = &limiter.burst {
        if limiter.kind == Kind::SlidingWindow {
            return Err(refuse(
                burst,
                "expected no burst beside kind = \"sliding_window\"",
            ));
        }
        at_least_one(burst)?;
        config = config.with_burst(*burst.get_ref());
    }
    if limiter.counts == Counts::Commands {
        config = config.counting_commands();
    }
    if let Some(reserve) = &limiter.reserve {
        let (amount, capacity) = (*reserve.amount.get_ref(), config.capacity());
        if amount >= capacity {
            let text =
                format!("expected less than what is granted at once ({capacity}), got {amount}");
            return Err(refuse(&reserve.amount, text));
        }
        config = config.with_reserve(amount, reserve.urgent_up_to);
    }
    Ok(config)
}
