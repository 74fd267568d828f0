//! Which command holds each id and each unique key: the slow model that every answer to a submission is compared with.
//!
//! It goes by a plain list of the commands that were accepted with a name. One thread only: there nothing happens between
//! a look at the list and the answer.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use a3s_lane::{CommandHandle, CommandStatus, OnConflict, Refused};
use proptest::test_runner::TestCaseError;
use tokio::time::Instant;

use super::commands::CommandPlan;
use super::plan::ms;
use super::play::{Checked, check, fail};
use super::record::{Book, Record, lock};

/// The commands that were accepted with an id or a unique key, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Names(Vec<Named>);

#[derive(Debug, Clone)]
pub(crate) struct Named {
    record: Arc<Record>,
    handle: CommandHandle,
    /// The end of its window.
    until: Option<Instant>,
    /// Another command took its key over.
    replaced: bool,
}

/// What must become of a submission.
#[derive(Debug)]
enum Expected {
    /// It becomes a command, if its lane takes it.
    Accepted,
    /// The same, and this command is cancelled, which had that status before.
    Replaces(Named, CommandStatus),
    /// It is refused, since this command has its id or holds its key.
    Duplicate(Named),
    /// It gets the result of this command.
    Joins(Named),
}

impl Named {
    fn is_settled(&self) -> bool {
        self.handle.status().is_settled()
    }

    fn has_id(&self, id: u8) -> bool {
        self.record.plan.id == Some(id) && !self.is_settled()
    }

    /// Until it settles, and until its window ends.
    fn holds(&self, key: u8, now: Instant) -> bool {
        let same = self.record.plan.unique.is_some_and(|own| own.0 == key);
        let in_window = self.until.is_some_and(|until| now < until);
        same && !self.replaced && (!self.is_settled() || in_window)
    }
}

impl Names {
    fn expected(&self, plan: &CommandPlan, now: Instant) -> Checked<Expected> {
        let same_id = |named: &&Named| plan.id.is_some_and(|id| named.has_id(id));
        if let Some(named) = self.0.iter().find(same_id) {
            return Ok(Expected::Duplicate(named.clone()));
        }
        let Some((key, _, on_conflict)) = plan.unique else {
            return Ok(Expected::Accepted);
        };
        let holders: Vec<_> = self
            .0
            .iter()
            .filter(|named| named.holds(key, now))
            .collect();
        check(holders.len() <= 1, "two hold a unique key")?;
        let Some(&holder) = holders.first() else {
            return Ok(Expected::Accepted);
        };
        let (status, holder) = (holder.handle.status(), holder.clone());
        Ok(match on_conflict {
            OnConflict::Reject => Expected::Duplicate(holder),
            OnConflict::Join => Expected::Joins(holder),
            OnConflict::Replace => Expected::Replaces(holder, status),
            _ => return Err(fail("another rule")),
        })
    }

    fn accept(&mut self, record: &Arc<Record>, handle: &CommandHandle, now: Instant) {
        let window = record.plan.unique.and_then(|(_, window, _)| window);
        self.0.push(Named {
            record: Arc::clone(record),
            handle: handle.clone(),
            until: window.map(|window| now + ms(window)),
            replaced: false,
        });
    }

    fn replace(&mut self, holder: &Named) {
        for named in &mut self.0 {
            named.replaced |= named.record.number == holder.record.number;
        }
    }
}

type Answered = Result<CommandHandle, Refused>;

impl Expected {
    /// What needs no room waits for none.
    fn may_wait(&self) -> bool {
        matches!(self, Self::Accepted | Self::Replaces(..))
    }

    fn is_met(&self, book: &Book, record: &Record, answer: &Answered) -> bool {
        match (self, answer) {
            // No lane, or no queue, any more.
            (_, Err(refused)) if is_closed(refused.error().code()) => true,
            (Self::Accepted | Self::Replaces(..), Err(refused)) => {
                refused.error().code() == "LANE_FULL"
            }
            (Self::Accepted | Self::Replaces(..), Ok(handle)) => {
                let records = book.records();
                let mut others = records.iter().filter_map(|other| other.handle());
                match record.plan.id {
                    Some(id) => handle.id() == format!("id-{id}"),
                    None => others.all(|other| other.id() != handle.id()),
                }
            }
            (Self::Duplicate(named), Err(refused)) => {
                let text = refused.error().to_string();
                refused.error().code() == "DUPLICATE" && text.contains(named.handle.id())
            }
            (Self::Joins(named), Ok(handle)) => handle.id() == named.handle.id(),
            _ => false,
        }
    }
}

fn is_closed(code: &str) -> bool {
    matches!(
        code,
        "LANE_NOT_FOUND" | "SHUTDOWN_IN_PROGRESS" | "QUEUE_ERROR"
    )
}

/// Submits a command, and compares the answer with what must become of it at that moment.
pub(crate) async fn submit_named(
    book: &Book,
    record: &Arc<Record>,
    submission: impl Future<Output = Answered>,
) -> Checked {
    let mut submission = pin!(submission);
    let mut waits = false;
    let answered = poll_fn(|context| {
        record.ask();
        let expected = lock(&book.names).expected(&record.plan, Instant::now());
        let expected = match expected {
            Ok(expected) => expected,
            Err(error) => return Poll::Ready(Err(error)),
        };
        match submission.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Ok((expected, answer))),
            Poll::Pending if waits || expected.may_wait() => {
                waits = true;
                Poll::Pending
            }
            Poll::Pending => Poll::Ready(Err(TestCaseError::fail(format!(
                "waits, not {expected:?}: {record:#?}"
            )))),
        }
    });
    let (expected, answer) = answered.await?;
    if !expected.is_met(book, record, &answer) {
        let text = format!("answered with {answer:?}, not {expected:#?}: {record:#?}");
        return Err(TestCaseError::fail(text));
    }
    let now = Instant::now();
    match (&expected, &answer) {
        (Expected::Replaces(holder, before), Ok(_)) => {
            lock(&book.names).replace(holder);
            replaced(holder, *before)?;
        }
        (Expected::Replaces(holder, before), Err(_)) => {
            check(
                holder.handle.status() == *before,
                "whom a refused command would replace is left alone",
            )?;
        }
        _ => {}
    }
    match (&expected, answer) {
        (Expected::Joins(holder), Ok(handle)) => book.join(record, handle, holder.record.number),
        (_, Ok(handle)) => {
            if record.plan.id.is_some() || record.plan.unique.is_some() {
                lock(&book.names).accept(record, &handle, now);
            }
            book.accept(record, handle);
        }
        (_, Err(refused)) => book.refuse(record, refused.error()),
    }
    Ok(())
}

/// Who waits leaves at once; who runs is asked to stop; who has settled keeps its outcome.
fn replaced(holder: &Named, before: CommandStatus) -> Checked {
    let status = holder.handle.status();
    let right = match before {
        CommandStatus::Pending | CommandStatus::Delayed => status == CommandStatus::Cancelled,
        CommandStatus::Running => true,
        settled => status == settled,
    };
    if !before.is_settled() {
        holder.record.replace();
    }
    check(right, "whose unique key is taken over is cancelled")
}
