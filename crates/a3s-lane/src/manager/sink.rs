//! Submission without handles, for programs that submit very many commands.

use std::sync::Arc;

use super::QueueManager;
use crate::command::{Command, CommandId};
use crate::handle::CommandHandle;
use crate::submission::{CommandTicket, Refused, ResultSink};

impl QueueManager {
    /// Puts commands into a lane in their order and at once, each with a token of the caller's choice. What becomes of each is
    /// told to `sink`.
    ///
    /// One answer per command, in the same order. A refused command does not keep the others out. An event loop that hosts
    /// handlers needs no more than this; [`submit_many`](Self::submit_many) makes a handle for each.
    ///
    /// # Errors
    ///
    /// The commands themselves, when one of them may have to wait: for a storage, for observers that are awaited, for room in a
    /// lane whose overflow rule is [`Overflow::Wait`](crate::Overflow::Wait), or when the queue runs
    /// [inline](crate::QueueManagerBuilder::with_inline). For each command [`Refused`], as by [`submit`](Self::submit).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> a3s_lane::Result<()> {
    /// use std::sync::mpsc::channel;
    ///
    /// use a3s_lane::{Command, EventEmitter, JsonCommand, QueueManagerBuilder, ResultSink};
    ///
    /// let manager = QueueManagerBuilder::new(EventEmitter::new(16))
    ///     .with_default_lanes()
    ///     .build()
    ///     .await?;
    /// let (tell, told) = channel();
    /// let sink = ResultSink::new(move |token, status, result| _ = tell.send((token, status, result)));
    /// let greet = |name: &str| -> Box<dyn Command> { Box::new(JsonCommand::new("greet", name.into())) };
    /// let commands = vec![(greet("Ann"), 7), (greet("Bob"), 8)];
    /// let answers = manager.submit_to(&sink, "query", commands).ok().expect("nothing waits");
    /// assert!(answers.iter().all(Result::is_ok));
    /// manager.start().await?;
    /// manager.drain(std::time::Duration::from_secs(5)).await?;
    /// let mut tokens: Vec<u32> = told.try_iter().map(|(token, ..)| token).collect();
    /// tokens.sort_unstable();
    /// assert_eq!(tokens, [7, 8]);
    /// # Ok(())
    /// # }
    /// ```
    #[expect(
        clippy::type_complexity,
        reason = "what came in, and an answer for each of it"
    )]
    pub fn submit_to(
        &self,
        sink: &Arc<ResultSink>,
        lane_id: &str,
        commands: Vec<(Box<dyn Command>, u32)>,
    ) -> Result<Vec<Result<CommandTicket, Refused>>, Vec<(Box<dyn Command>, u32)>> {
        let answers = self.queue.engine().submit_to(sink, lane_id, commands)?;
        let answers = answers.into_iter();
        Ok(answers.map(|key| key.map(CommandTicket)).collect())
    }

    /// The handle of a command that was submitted to this queue without one; `None` once it has settled. From now on what it
    /// reports is kept.
    pub fn handle_of(&self, ticket: CommandTicket) -> Option<CommandHandle> {
        self.queue.engine().handle_of(ticket.0)
    }

    /// The id of the command of this queue with this [number](CommandTicket::serial), whether it has settled or not.
    pub fn id_of(&self, serial: u64) -> CommandId {
        self.queue.engine().id_of(serial)
    }
}
