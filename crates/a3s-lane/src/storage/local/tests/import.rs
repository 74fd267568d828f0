//! Directories of a3s-lane 0.4.

use super::*;

const COMMANDS: &str = r#"[
  {"id":"a","command_type":"t","lane_id":"l","payload":{"x":1},"retry_count":0,
   "created_at":"2026-01-02T03:04:05Z","last_attempt_at":null},
  {"id":"b","command_type":"t","lane_id":"l","payload":{},"retry_count":3,
   "created_at":"2026-01-02T03:04:06.5Z","last_attempt_at":"2026-01-02T03:04:07Z"}
]"#;

const LETTERS: &str = r#"[{"command_id":"c","command_type":"t","lane_id":"l","error":"boom","attempts":4,
    "failed_at":"2026-01-02T03:04:05Z"}]"#;

fn write(directory: &TempDir, name: &str, text: &str) {
    let place = store(directory);
    std::fs::create_dir_all(&place).expect("made");
    std::fs::write(place.join(name), text).expect("written");
}

#[tokio::test]
async fn files_of_0_4_are_imported_once_and_kept_aside() {
    let directory = directory();
    write(&directory, "commands.json", COMMANDS);
    write(&directory, "dead_letters.json", LETTERS);
    let storage = open(&directory).await;
    let commands = storage.load_commands().await.expect("readable");
    let expected: Vec<StoredCommand> = serde_json::from_str(COMMANDS).expect("the same");
    assert_eq!(as_json(commands), as_json(expected));
    let letters = storage.load_dead_letters().await.expect("readable");
    let expected: Vec<StoredDeadLetter> = serde_json::from_str(LETTERS).expect("the same");
    assert_eq!(as_json(letters), as_json(expected));

    let aside = std::fs::read_to_string(store(&directory).join("commands.json.imported"));
    assert_eq!(aside.expect("kept"), COMMANDS);
    let names = file_names(&store(&directory));
    assert!(
        names.contains(&"dead_letters.json.imported".to_owned()),
        "{names:?}"
    );
    assert!(!names.contains(&"commands.json".to_owned()), "{names:?}");

    storage.remove_command("a").await.expect("removed");
    drop(storage);
    assert_eq!(command_ids(&open(&directory).await).await, ["b"]);
}

#[tokio::test]
async fn a_damaged_file_of_0_4_is_an_error_and_nothing_changes() {
    for text in ["", "[{\"id\":", "{}"] {
        let directory = directory();
        write(&directory, "commands.json", text);
        write(&directory, "dead_letters.json", LETTERS);
        let error = storage_error(LocalStorage::new(store(&directory)).await);
        let path = store(&directory)
            .canonicalize()
            .expect("it is there")
            .join("commands.json");
        let damaged = format!("{} is damaged: ", path.display());
        assert!(error.starts_with(&damaged), "{error}");
        assert_eq!(std::fs::read_to_string(path).expect("left alone"), text);
        // Once it is out of the way, the rest is imported.
        std::fs::remove_file(store(&directory).join("commands.json")).expect("removed");
        assert_eq!(letter_ids(&open(&directory).await).await, ["c"]);
    }
}

#[tokio::test]
async fn files_that_come_later_are_left_alone() {
    let directory = directory();
    drop(open(&directory).await);
    write(&directory, "commands.json", COMMANDS);
    assert!(command_ids(&open(&directory).await).await.is_empty());
    assert!(store(&directory).join("commands.json").exists());
}

/// 0.4 wrote a map: in any order.
#[tokio::test]
async fn commands_of_0_4_are_imported_in_the_order_in_which_they_came() {
    let directory = directory();
    let mut commands: Vec<StoredCommand> = (0..20).map(command).collect();
    for (number, command) in commands.iter_mut().enumerate() {
        // Two have each time: their order in the file stays.
        command.created_at = Utc.timestamp_nanos(number as i64 / 2 * 1_000_000_000);
    }
    let expected: Vec<String> = (0..20).map(|id| id.to_string()).collect();
    commands.sort_by_key(|command| std::cmp::Reverse(command.created_at));
    let text = serde_json::to_string(&commands).expect("plain data");
    write(&directory, "commands.json", &text);
    assert_eq!(command_ids(&open(&directory).await).await, expected);
}

/// How many are kept the application says, later.
#[tokio::test]
async fn all_dead_letters_of_0_4_are_imported() {
    let directory = directory();
    let letters: Vec<StoredDeadLetter> = (0..10_001).map(letter).collect();
    let text = serde_json::to_string(&letters).expect("plain data");
    write(&directory, "dead_letters.json", &text);
    let storage = open(&directory).await.with_max_dead_letters(20_000);
    assert_eq!(letter_ids(&storage).await.len(), 10_001);
}
