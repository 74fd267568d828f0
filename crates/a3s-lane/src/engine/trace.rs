//! The spans of the `telemetry` feature; nothing without it.

#[cfg(feature = "telemetry")]
mod enabled {
    use tracing::Span;
    use tracing::instrument::Instrument;

    use super::super::attempt::guarded;
    use crate::command::Command;
    use crate::event::CommandName;
    use crate::hint::unlikely;
    use crate::telemetry;

    /// The span of a submit, kept until the command starts so that its execution can be linked to it.
    /// Boxed, and absent when nobody traces: pending commands stay small.
    pub(crate) struct SubmitSpan(Option<Box<Span>>);

    impl SubmitSpan {
        #[inline]
        pub(crate) fn new(lane: &str, command: &dyn Command) -> Self {
            match unlikely(telemetry::wants_spans()) {
                true => Self::begin(lane, command),
                false => Self(None),
            }
        }

        #[inline(never)]
        fn begin(lane: &str, command: &dyn Command) -> Self {
            let span = telemetry::submit_span(lane, kind(command));
            Self((!span.is_disabled()).then(|| Box::new(span)))
        }

        /// Takes the span; later attempts of the command have no link to follow.
        pub(crate) fn take(&mut self) -> Self {
            Self(self.0.take())
        }
    }

    /// The span of one execution.
    pub(crate) struct ExecuteSpan(Span);

    impl ExecuteSpan {
        /// `attempt` is counted from 1; the span tells how often the command was tried before.
        #[inline]
        pub(crate) fn new(
            lane: &str,
            name: impl FnOnce() -> CommandName,
            command: &dyn Command,
            attempt: u32,
            submitted: Option<SubmitSpan>,
        ) -> Self {
            if !telemetry::wants_spans() {
                return Self(Span::none());
            }
            let none = Span::none();
            let submitted = submitted.as_ref().and_then(|span| span.0.as_deref());
            let submitted = submitted.unwrap_or(&none);
            Self(telemetry::execute_span(
                lane,
                name(),
                kind(command),
                attempt.saturating_sub(1),
                submitted,
            ))
        }

        /// Runs what `body` makes inside the span.
        pub(crate) async fn around<F: Future>(&self, body: impl FnOnce() -> F) -> F::Output {
            if self.0.is_disabled() {
                return body().await;
            }
            // Boxed: a runner that nobody traces stays small.
            Box::pin(body().instrument(self.0.clone())).await
        }

        pub(crate) fn end(self, success: bool) {
            telemetry::record_success(&self.0, success);
        }
    }

    /// The user's word for the kind of a command; empty when asking for it panics.
    fn kind(command: &dyn Command) -> &str {
        guarded(|| command.command_type()).unwrap_or_default()
    }

    /// Whether anybody traces.
    #[inline]
    pub(crate) fn wants_spans() -> bool {
        telemetry::wants_spans()
    }

    #[inline]
    pub(crate) fn submitted(lane: &str) {
        if unlikely(telemetry::metrics().is_some()) {
            telemetry::record_submit(lane);
        }
    }

    #[inline(never)]
    fn record_settled(lane: &str, completed: bool, run_ns: u64) {
        if completed {
            telemetry::record_complete(lane, run_ns as f64 / 1e9);
        } else {
            telemetry::record_failure(lane);
        }
    }

    pub(crate) fn retried(lane: &str, name: &CommandName, attempt: u32) {
        telemetry::retry_span(lane, name, attempt).in_scope(|| {});
    }

    #[inline]
    pub(crate) fn settled(lane: &str, completed: bool, run_ns: u64) {
        // Asked here, where it is inlined, before anything is computed.
        if unlikely(telemetry::metrics().is_some()) {
            record_settled(lane, completed, run_ns);
        }
    }
}

#[cfg(not(feature = "telemetry"))]
mod enabled {
    use crate::command::Command;
    use crate::event::CommandName;

    pub(crate) struct SubmitSpan;

    impl SubmitSpan {
        pub(crate) fn new(_lane: &str, _command: &dyn Command) -> Self {
            Self
        }

        pub(crate) fn take(&mut self) -> Self {
            Self
        }
    }

    pub(crate) struct ExecuteSpan;

    impl ExecuteSpan {
        pub(crate) fn new(
            _lane: &str,
            _name: impl FnOnce() -> CommandName,
            _command: &dyn Command,
            _attempt: u32,
            _submitted: Option<SubmitSpan>,
        ) -> Self {
            Self
        }

        pub(crate) async fn around<F: Future>(&self, body: impl FnOnce() -> F) -> F::Output {
            body().await
        }

        pub(crate) fn end(self, _success: bool) {}
    }

    pub(crate) fn wants_spans() -> bool {
        false
    }

    pub(crate) fn submitted(_lane: &str) {}

    pub(crate) fn retried(_lane: &str, _name: &CommandName, _attempt: u32) {}

    pub(crate) fn settled(_lane: &str, _completed: bool, _run_ns: u64) {}
}

pub(crate) use enabled::{ExecuteSpan, SubmitSpan, retried, settled, submitted, wants_spans};
