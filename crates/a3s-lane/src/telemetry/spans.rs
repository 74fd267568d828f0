//! The spans of a command's life. The module above documents their names, levels and fields.

use std::fmt::Display;

use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Span, span};

use super::{
    ATTR_COMMAND_ID, ATTR_COMMAND_TYPE, ATTR_LANE_NAME, ATTR_RETRY_ATTEMPT, ATTR_SUCCESS,
    SPAN_LANE_EXECUTE, SPAN_LANE_RETRY, SPAN_LANE_SUBMIT, SPAN_TARGET,
};

/// Whether any subscriber of the process wants the spans of commands: one load and a comparison.
#[inline]
pub(crate) fn wants_spans() -> bool {
    Level::INFO <= LevelFilter::current()
}

/// The span that `make` makes, if any subscriber of the process wants its level.
///
/// This is one load and a comparison, inlined; the macro itself would build and drop a disabled span to find out.
#[inline]
fn when_wanted(level: Level, make: impl FnOnce() -> Span) -> Span {
    if level <= LevelFilter::current() {
        out_of_line(make)
    } else {
        Span::none()
    }
}

#[inline(never)]
fn out_of_line(make: impl FnOnce() -> Span) -> Span {
    make()
}

/// The span of a command's wait, a child of the current span.
///
/// Keep it until the command's first attempt has its own span: a link to a closed span cannot be resolved. Its duration
/// is the wait in the queue.
#[inline]
pub(crate) fn submit_span(lane: &str, command_type: &str) -> Span {
    when_wanted(Level::INFO, || {
        span!(
            target: SPAN_TARGET,
            Level::INFO,
            SPAN_LANE_SUBMIT,
            { ATTR_LANE_NAME } = lane,
            { ATTR_COMMAND_TYPE } = command_type,
        )
    })
}

/// The span of one attempt. It has no parent and follows from `submitted`.
///
/// `attempt` is 0 for the first one. `command_id` is formatted only when a subscriber wants the span.
#[inline]
pub(crate) fn execute_span(
    lane: &str,
    command_id: impl Display,
    command_type: &str,
    attempt: u32,
    submitted: &Span,
) -> Span {
    when_wanted(Level::INFO, || {
        let span = span!(
            target: SPAN_TARGET,
            parent: None,
            Level::INFO,
            SPAN_LANE_EXECUTE,
            { ATTR_LANE_NAME } = lane,
            { ATTR_COMMAND_ID } = %command_id,
            { ATTR_COMMAND_TYPE } = command_type,
            { ATTR_RETRY_ATTEMPT } = attempt,
            { ATTR_SUCCESS } = Empty,
        );
        if !span.is_disabled() {
            span.follows_from(submitted);
        }
        span
    })
}

/// Notes in an execute span whether the attempt ended well.
#[inline]
pub(crate) fn record_success(execute: &Span, success: bool) {
    execute.record(ATTR_SUCCESS, success);
}

/// The span of a decision to try again, a child of the current span, which should be the failed attempt's.
///
/// `attempt` is the number of the coming attempt: 1 for the first retry.
#[inline]
pub(crate) fn retry_span(lane: &str, command_id: impl Display, attempt: u32) -> Span {
    when_wanted(Level::INFO, || {
        span!(
            target: SPAN_TARGET,
            Level::INFO,
            SPAN_LANE_RETRY,
            { ATTR_LANE_NAME } = lane,
            { ATTR_COMMAND_ID } = %command_id,
            { ATTR_RETRY_ATTEMPT } = attempt,
        )
    })
}

/// The span of one look at the queue, a child of the current span.
#[cfg(any(feature = "monitoring", test))]
pub(crate) fn health_check_span() -> Span {
    span!(target: SPAN_TARGET, Level::DEBUG, super::SPAN_LANE_HEALTH_CHECK)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::{self, Debug};
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::subscriber::with_default;
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    use super::*;

    /// What a subscriber learns about a span.
    #[derive(Debug, Default, Clone, PartialEq)]
    struct Seen {
        name: String,
        target: String,
        level: String,
        parent: Option<String>,
        follows: Vec<String>,
        fields: BTreeMap<String, String>,
    }

    impl Visit for Seen {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.fields
                .insert(field.name().to_owned(), format!("{value:?}"));
        }
    }

    /// Collects the spans, keyed by id in the order of their creation.
    #[derive(Clone, Default)]
    struct Collector(Arc<Mutex<BTreeMap<u64, Seen>>>);

    impl Collector {
        fn change(&self, id: &Id, change: impl FnOnce(&mut Seen)) {
            change(
                self.0
                    .lock()
                    .expect("not poisoned")
                    .entry(id.into_u64())
                    .or_default(),
            );
        }

        fn named(&self, name: &str) -> Seen {
            let spans = self.0.lock().expect("not poisoned");
            spans
                .values()
                .find(|seen| seen.name == name)
                .cloned()
                .expect("the span was made")
        }
    }

    impl Layer<Registry> for Collector {
        fn on_new_span(
            &self,
            attributes: &Attributes<'_>,
            id: &Id,
            context: Context<'_, Registry>,
        ) {
            self.change(id, |seen| {
                let metadata = attributes.metadata();
                seen.name = metadata.name().to_owned();
                seen.target = metadata.target().to_owned();
                seen.level = metadata.level().to_string();
                let parent = context.span(id).and_then(|span| span.parent());
                seen.parent = parent.map(|parent| parent.name().to_owned());
                attributes.record(seen);
            });
        }

        fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, Registry>) {
            self.change(id, |seen| values.record(seen));
        }

        fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, Registry>) {
            let cause = context.span(follows).expect("the cause is still open");
            self.change(id, |seen| seen.follows.push(cause.name().to_owned()));
        }
    }

    fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn spans_carry_the_documented_names_and_fields() {
        let collector = Collector::default();
        // See `Trace::start` of the tests: with one subscriber, another thread could answer for it.
        let _other = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
        with_default(Registry::default().with(collector.clone()), || {
            let caller = tracing::info_span!("caller");
            let submitted = caller.in_scope(|| submit_span("query", "read"));
            let execute = caller.in_scope(|| execute_span("query", 17, "read", 1, &submitted));
            let _retry = execute.in_scope(|| retry_span("query", 17, 2));
            let _health = health_check_span();

            assert!(
                !collector
                    .named("a3s.lane.execute")
                    .fields
                    .contains_key("a3s.lane.success")
            );
            record_success(&execute, true);
        });

        assert_eq!(
            collector.named("a3s.lane.submit"),
            Seen {
                name: "a3s.lane.submit".to_owned(),
                target: "a3s_lane::telemetry".to_owned(),
                level: "INFO".to_owned(),
                parent: Some("caller".to_owned()),
                follows: Vec::new(),
                fields: fields(&[
                    ("a3s.lane.lane_name", "\"query\""),
                    ("a3s.lane.command_type", "\"read\""),
                ]),
            }
        );
        assert_eq!(
            collector.named("a3s.lane.execute"),
            Seen {
                name: "a3s.lane.execute".to_owned(),
                target: "a3s_lane::telemetry".to_owned(),
                level: "INFO".to_owned(),
                parent: None,
                follows: vec!["a3s.lane.submit".to_owned()],
                fields: fields(&[
                    ("a3s.lane.lane_name", "\"query\""),
                    ("a3s.lane.command_id", "17"),
                    ("a3s.lane.command_type", "\"read\""),
                    ("a3s.lane.retry_attempt", "1"),
                    ("a3s.lane.success", "true"),
                ]),
            }
        );
        let retry = collector.named("a3s.lane.retry");
        assert_eq!(retry.parent.as_deref(), Some("a3s.lane.execute"));
        assert_eq!(
            retry.fields,
            fields(&[
                ("a3s.lane.lane_name", "\"query\""),
                ("a3s.lane.command_id", "17"),
                ("a3s.lane.retry_attempt", "2"),
            ])
        );
        let health = collector.named("a3s.lane.health_check");
        assert_eq!((health.level.as_str(), health.fields.len()), ("DEBUG", 0));
    }

    /// Formatting it is a failure.
    struct Unformattable;

    impl Display for Unformattable {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("formatted although no subscriber wants the span")
        }
    }

    #[test]
    fn nothing_is_formatted_for_a_span_nobody_wants() {
        with_default(tracing::subscriber::NoSubscriber::new(), || {
            let submitted = submit_span("query", "read");
            let execute = execute_span("query", Unformattable, "read", 0, &submitted);
            record_success(&execute, false);
            let retry = retry_span("query", Unformattable, 1);
            for span in [submitted, execute, retry, health_check_span()] {
                assert!(span.is_disabled());
            }
        });
    }
}
