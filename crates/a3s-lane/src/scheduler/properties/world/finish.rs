//! The end of a run: all the work is done.

use proptest::prelude::*;

use super::super::operation::Op;
use super::{Checked, World};
use crate::scheduler::model::Phase;
use crate::scheduler::{Ending, StopReason};

impl World {
    /// Runs everything to its end. What can never start, because it costs more than a limiter ever grants, is cancelled.
    pub(in super::super) fn finish(&mut self) -> Checked {
        self.apply(&Op::Open)?;
        self.apply(&Op::SetTotal(None))?;
        for key in self.model.paused_keys.clone() {
            self.pause_key(key, false)?;
        }
        for lane in self.model.lane_numbers() {
            self.pause_lane(lane, false)?;
        }
        for _ in 0..10_000 {
            self.apply(&Op::Settle)?;
            let commands = self.model.commands.iter();
            let holding: Vec<(u64, u32, Phase)> = commands
                .filter(|command| command.holds_slot())
                .map(|command| (command.serial, command.run, command.phase))
                .collect();
            for &(serial, run, phase) in &holding {
                if phase != Phase::Concluded {
                    self.conclude(serial, run, Ending::Failed, serial << 60)?;
                }
                self.release(serial)?;
            }
            if self.scheduler.pending + self.scheduler.shares == 0 {
                prop_assert!(self.model.commands.is_empty());
                return Ok(());
            }
            if !holding.is_empty() {
                continue;
            }
            match self.scheduler.next_wake() {
                Some(wake) => self.now = self.now.max(wake),
                None => self.cancel_the_impossible()?,
            }
        }
        prop_assert!(false, "the work never ends");
        Ok(())
    }

    fn cancel_the_impossible(&mut self) -> Checked {
        let lanes = self.model.lane_numbers().into_iter();
        let impossible: Vec<u64> = lanes
            .filter(|&lane| self.model.grants_at(lane, self.now) == u64::MAX)
            .filter_map(|lane| self.model.front(lane, self.now))
            .map(|command| command.serial)
            .collect();
        prop_assert!(
            !impossible.is_empty(),
            "work is left and nothing would ever start it"
        );
        for serial in impossible {
            self.stop(serial, StopReason::Cancel)?;
        }
        Ok(())
    }
}
