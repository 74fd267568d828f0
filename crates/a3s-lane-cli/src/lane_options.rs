//! The further settings of a lane in a configuration file.

use std::collections::BTreeMap;

use a3s_lane::{Jitter, LaneOptions, LimiterConfig, Overflow};
use toml::Spanned;

use crate::lane_text::{LaneText, Refused, at_least_one, duration_of, refuse};

/// As many limiters as the library lets a lane have.
const LIMITERS_MAX: usize = 4;

/// The further settings of a lane. The limiters that it names must be among `limiters`.
pub(crate) fn lane_options(
    lane: &mut LaneText,
    limiters: &BTreeMap<String, LimiterConfig>,
) -> Result<LaneOptions, Refused> {
    let mut options = LaneOptions::new();
    if let Some(burst) = lane
        .rate_limit
        .as_ref()
        .and_then(|limit| limit.burst.as_ref())
    {
        options = options.with_burst(*burst.get_ref());
    }
    if let Some(max) = &lane.max_pending {
        options = options.with_max_pending(at_least_one(max)?);
    }
    if let Some(overflow) = &lane.overflow {
        if lane.max_pending.is_none() {
            return Err(refuse(overflow, "expected max_pending beside it"));
        }
        options = options.with_overflow(overflow_rule(overflow)?);
    }
    options = options.with_preemption(lane.preemptible);
    // No grace is the default, so it may be written down.
    if let Some((grace, _)) = duration_of(&mut lane.grace, &mut lane.grace_ms, "grace")? {
        options = options.with_grace(grace);
    }
    let (text, millis) = (&mut lane.progress_timeout, &mut lane.progress_timeout_ms);
    if let Some((limit, span)) = duration_of(text, millis, "progress_timeout")? {
        if limit.is_zero() {
            let message = "expected more than zero; leave the key out for no limit".to_owned();
            return Err(Refused { span, message });
        }
        options = options.with_progress_timeout(limit);
    }
    if let Some(max) = &lane.max_concurrency_per_key {
        options = options.with_max_concurrency_per_key(at_least_one(max)?);
    }
    for (key, weight) in &lane.key_weights {
        if key.get_ref().is_empty() {
            return Err(refuse(key, "a key needs a name, got an empty one"));
        }
        options = options.with_key_weight(key.get_ref().clone(), at_least_one(weight)?);
    }
    if let Some(jitter) = &lane.retry_jitter {
        options = options.with_retry_jitter(jitter_rule(jitter)?);
    }
    with_limiters(options, &lane.limiters, limiters)
}

fn overflow_rule(text: &Spanned<String>) -> Result<Overflow, Refused> {
    match text.get_ref().as_str() {
        "reject" => Ok(Overflow::Reject),
        "wait" => Ok(Overflow::Wait),
        "drop_oldest" => Ok(Overflow::DropOldest),
        other => Err(refuse(
            text,
            format!("expected `reject`, `wait` or `drop_oldest`, got `{other}`"),
        )),
    }
}

fn jitter_rule(text: &Spanned<String>) -> Result<Jitter, Refused> {
    match text.get_ref().as_str() {
        "none" => Ok(Jitter::None),
        "full" => Ok(Jitter::Full),
        "equal" => Ok(Jitter::Equal),
        other => Err(refuse(
            text,
            format!("expected `none`, `full` or `equal`, got `{other}`"),
        )),
    }
}

fn with_limiters(
    mut options: LaneOptions,
    names: &[Spanned<String>],
    known: &BTreeMap<String, LimiterConfig>,
) -> Result<LaneOptions, Refused> {
    if let Some(name) = names.get(LIMITERS_MAX) {
        let text = format!(
            "expected at most {LIMITERS_MAX} limiters, got {}",
            names.len()
        );
        return Err(refuse(name, text));
    }
    for name in names {
        if options.limiters().contains(name.get_ref()) {
            return Err(refuse(name, "expected each limiter once"));
        }
        if !known.contains_key(name.get_ref()) {
            let text = format!(
                "expected the name of a [limiters.NAME], got `{}`",
                name.get_ref()
            );
            return Err(refuse(name, text));
        }
        options = options.with_limiter(name.get_ref().clone());
    }
    Ok(options)
}
