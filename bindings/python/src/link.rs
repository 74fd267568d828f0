//! What a handler's context has of the core.

use std::sync::{Arc, PoisonError, RwLock};

use a3s_lane::CommandContext;
use serde_json::{Map, Value};

/// The attempt of a context; of one that has failed, only what it was.
///
/// The exception of a handler has a traceback, which holds the handler's variables and so its context. The lane keeps the
/// exception for whoever waits: with the attempt inside, none of it would ever be freed, and Python's collector cannot see that.
pub(crate) struct Link(RwLock<State>);

enum State {
    Live(CommandContext),
    Ended(Ended),
}

/// What can be asked of an attempt that has ended.
#[derive(Clone)]
pub(crate) struct Ended {
    pub(crate) id: String,
    pub(crate) lane_id: String,
    pub(crate) number: u32,
    pub(crate) metadata: Map<String, Value>,
}

impl Link {
    pub(crate) fn new(context: CommandContext) -> Arc<Self> {
        Arc::new(Self(RwLock::new(State::Live(context))))
    }

    /// The attempt, or what it was.
    pub(crate) fn context(&self) -> Result<CommandContext, Ended> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            State::Live(context) => Ok(context.clone()),
            State::Ended(ended) => Err(ended.clone()),
        }
    }

    /// Lets the attempt go, which has failed.
    pub(crate) fn end(&self) {
        let Ok(context) = self.context() else {
            return;
        };
        let ended = Ended {
            id: context.id(),
            lane_id: context.lane_id().to_owned(),
            number: context.attempt(),
            metadata: context.metadata().clone(),
        };
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *state, State::Ended(ended));
        drop(state);
        drop(before);
    }
}
