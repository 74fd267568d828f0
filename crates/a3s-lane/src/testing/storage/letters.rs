//! Rules of dead letters.

use std::sync::Arc;

use serde_json::json;

use super::{Rule, Suite, command, failure, time};
use crate::storage::{
    CommandRecord, DeadLetterFilter, DeadLetterRecord, Settlement, Storage, StoredDeadLetter,
    StoredOutcome,
};

fn letter(number: u32) -> StoredDeadLetter {
    StoredDeadLetter {
        command_id: format!("dead-{number}"),
        command_type: "mail".into(),
        lane_id: "skill".into(),
        error: "no route to host".into(),
        attempts: 3,
        failed_at: time(number),
    }
}

fn ids(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    let ids = numbers.into_iter().map(|number| letter(number).command_id);
    ids.collect()
}

impl<F: AsyncFn(String) -> Arc<dyn Storage>> Suite<F> {
    async fn with_letters(&self, rule: Rule, count: u32) -> Arc<dyn Storage> {
        let storage = self.open(rule).await;
        for number in 0..count {
            let saved = storage.save_dead_letter(letter(number)).await;
            rule.ok("save_dead_letter", saved);
        }
        storage
    }

    pub(super) async fn dead_letters_are_kept_in_order(&self) {
        let rule = Rule("dead_letters_are_kept_in_order");
        let storage = self.with_letters(rule, 5).await;
        let storage = self.reopen(rule, storage).await;
        let found = rule.ok("load_dead_letters", storage.load_dead_letters().await);
        let found: Vec<_> = found.into_iter().map(DeadLetterRecord::from).collect();
        let expected: Vec<_> = (0..5).map(|number| letter(number).into()).collect();
        rule.same("the dead letters, oldest first,", found, expected);
    }

    pub(super) async fn clearing_forgets_what_it_names(&self) {
        let rule = Rule("clearing_forgets_what_it_names");
        let storage = self.with_letters(rule, 2).await;
        rule.ok("save_command", storage.save_command(command(1)).await);
        let cleared = storage.clear_dead_letters().await;
        rule.ok("clear_dead_letters", cleared);
        let left = (
            rule.ids(&*storage).await.len(),
            rule.letter_ids(&*storage).await.len(),
        );
        rule.same(
            "commands and letters after clear_dead_letters",
            left,
            (1, 0),
        );
        let saved = storage.save_dead_letter(letter(2)).await;
        rule.ok("save_dead_letter", saved);
        rule.ok("clear_all", storage.clear_all().await);
        let storage = self.reopen(rule, storage).await;
        let left = (
            rule.ids(&*storage).await.len(),
            rule.letter_ids(&*storage).await.len(),
        );
        rule.same("commands and letters after clear_all", left, (0, 0));
    }

    pub(super) async fn dead_letters_are_found_and_removed(&self) {
        let rule = Rule("dead_letters_are_found_and_removed");
        let storage = self.with_letters(rule, 4).await;
        let mut other = letter(4);
        other.lane_id = "other".into();
        other.command_type = "letter".into();
        let imported = storage.import_dead_letters(vec![other.into()]).await;
        rule.ok("import_dead_letters", imported);
        let all = DeadLetterFilter::all;
        for (what, filter, expected) in [
            ("all", all(), ids(0..5)),
            ("of one id", DeadLetterFilter::of("dead-2"), ids([2])),
            (
                "of a lane",
                DeadLetterFilter {
                    lane_id: Some("other".into()),
                    ..all()
                },
                ids([4]),
            ),
            ("of a type", all().with_command_type("letter"), ids([4])),
            (
                "since a time and until another",
                DeadLetterFilter {
                    since: Some(time(1)),
                    until: Some(time(3)),
                    ..all()
                },
                ids([1, 2]),
            ),
            (
                "at most two",
                DeadLetterFilter {
                    limit: Some(2),
                    ..all()
                },
                ids([0, 1]),
            ),
        ] {
            let found = storage.find_dead_letters(&filter).await;
            let found = rule.ok("find_dead_letters", found);
            let found: Vec<_> = found.into_iter().map(|letter| letter.command_id).collect();
            rule.same(&format!("the letters found by `{what}`"), found, expected);
        }
        let count = storage.count_dead_letters().await;
        let count = rule.ok("count_dead_letters", count);
        rule.same("how many there are", count, 5);
        let removed = storage.remove_dead_letters(&ids([1, 3, 9])).await;
        rule.same(
            "how many are removed",
            rule.ok("remove_dead_letters", removed),
            2,
        );
        let storage = self.reopen(rule, storage).await;
        let found = rule.letter_ids(&*storage).await;
        rule.same("the letters that are left", found, ids([0, 2, 4]));
        let count = storage.count_dead_letters().await;
        let count = rule.ok("count_dead_letters", count);
        rule.same("how many are left", count, 3);
    }

    pub(super) async fn a_revived_command_is_no_dead_letter(&self) {
        let rule = Rule("a_revived_command_is_no_dead_letter");
        let storage = self.open(rule).await;
        rule.ok("save_command", storage.save_command(command(1)).await);
        let outcome = StoredOutcome::Failed {
            code: "TIMEOUT".into(),
            error: "too late".into(),
        };
        let mut settlement = Settlement::new("command-1", "mail", "skill", outcome);
        let dead = StoredDeadLetter {
            command_id: "command-1".into(),
            ..letter(1)
        };
        settlement.letter = Some(Box::new(dead.into()));
        let settled = storage.settle_commands(vec![settlement]).await;
        rule.ok("settle_commands", settled);
        rule.is(
            rule.ids(&*storage).await.is_empty(),
            "a dead command should not be pending",
        );
        let found = rule.letter_ids(&*storage).await;
        rule.same("the letters", found, vec!["command-1".to_owned()]);
        let record = CommandRecord::from(command(1));
        let revived = storage.revive_dead_letter(record).await;
        rule.ok("revive_dead_letter", revived);
        let storage = self.reopen(rule, storage).await;
        let found = rule.ids(&*storage).await;
        rule.same("the pending commands", found, vec!["command-1".to_owned()]);
        let letters = rule.letter_ids(&*storage).await;
        rule.is(
            letters.is_empty(),
            "a revived command should be no dead letter",
        );
    }

    pub(super) async fn dead_letters_are_revived_together(&self) {
        let rule = Rule("dead_letters_are_revived_together");
        let storage = self.open(rule).await;
        let letters = (1..=3).map(|number| {
            let command_id = command(number).id;
            DeadLetterRecord::from(StoredDeadLetter {
                command_id,
                ..letter(number)
            })
        });
        let imported = storage.import_dead_letters(letters.collect()).await;
        rule.ok("import_dead_letters", imported);
        let records = [1, 3].map(|number| CommandRecord::from(command(number)));
        let revived = storage.revive_dead_letters(records.to_vec()).await;
        rule.ok("revive_dead_letters", revived);
        let storage = self.reopen(rule, storage).await;
        let found = rule.ids(&*storage).await;
        rule.same(
            "the pending commands",
            found,
            vec!["command-1".to_owned(), "command-3".to_owned()],
        );
        let letters = rule.letter_ids(&*storage).await;
        rule.same(
            "the letters that are left",
            letters,
            vec!["command-2".to_owned()],
        );
    }

    pub(super) async fn dead_letters_hold_all_that_is_known(&self) {
        let rule = Rule("dead_letters_hold_all_that_is_known");
        let storage = self.open(rule).await;
        let mut full = DeadLetterRecord::from(letter(1));
        full.payload = Some(json!({"n": 1}));
        full.options.cost = 9;
        full.code = "TIMEOUT".into();
        full.traceback = Some("line 1\nline 2".into());
        full.failures = vec![failure(1), failure(2)];
        let bare = DeadLetterRecord::from(letter(2));
        let both = vec![full.clone(), bare];
        let imported = storage.import_dead_letters(both.clone()).await;
        rule.ok("import_dead_letters", imported);
        let storage = self.reopen(rule, storage).await;
        rule.same("the letters", rule.letters(&*storage).await, both);
        let late = DeadLetterFilter::all().with_code("TIMEOUT");
        let found = storage.find_dead_letters(&late).await;
        let found = rule.ok("find_dead_letters", found);
        rule.same("the letters found by their code", found, vec![full]);
    }

    /// A call that was dropped before its answer came may have been made, and is made again.
    pub(super) async fn a_settlement_that_is_told_again_changes_nothing(&self) {
        let rule = Rule("a_settlement_that_is_told_again_changes_nothing");
        let storage = self.open(rule).await;
        rule.ok("save_command", storage.save_command(command(1)).await);
        let mut dead = letter(1);
        dead.command_id = "command-1".into();
        let outcome = StoredOutcome::Failed {
            code: "TIMEOUT".into(),
            error: "too late".into(),
        };
        let mut settlement = Settlement::new("command-1", "mail", "skill", outcome);
        settlement.letter = Some(Box::new(dead.into()));
        for _ in 0..2 {
            let settled = storage.settle_commands(vec![settlement.clone()]).await;
            rule.ok("settle_commands", settled);
        }
        let storage = self.reopen(rule, storage).await;
        let found = rule.letter_ids(&*storage).await;
        rule.same("the letters", found, vec!["command-1".to_owned()]);
    }
}
