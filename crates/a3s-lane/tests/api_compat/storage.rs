use std::sync::{Arc, Mutex};

#[cfg(feature = "local-storage")]
use a3s_lane::LocalStorage;
use a3s_lane::{Result, Storage, StoredCommand, StoredDeadLetter};
use async_trait::async_trait;
use chrono::Utc;
use serde_json::json;

fn command(id: &str) -> StoredCommand {
    StoredCommand {
        id: id.to_owned(),
        command_type: "t".to_owned(),
        lane_id: "l".to_owned(),
        payload: json!({"k": 1}),
        retry_count: 0,
        created_at: Utc::now(),
        last_attempt_at: None,
    }
}

fn letter(id: &str) -> StoredDeadLetter {
    StoredDeadLetter {
        command_id: id.to_owned(),
        command_type: "t".to_owned(),
        lane_id: "l".to_owned(),
        error: "e".to_owned(),
        attempts: 1,
        failed_at: Utc::now(),
    }
}

/// As a user of 0.4 wrote one: the seven methods, no more.
#[derive(Default)]
struct Memory {
    commands: Mutex<Vec<StoredCommand>>,
    letters: Mutex<Vec<StoredDeadLetter>>,
}

#[async_trait]
impl Storage for Memory {
    async fn save_command(&self, command: StoredCommand) -> Result<()> {
        self.commands.lock().expect("not poisoned").push(command);
        Ok(())
    }
    async fn load_commands(&self) -> Result<Vec<StoredCommand>> {
        Ok(self.commands.lock().expect("not poisoned").clone())
    }
    async fn remove_command(&self, id: &str) -> Result<()> {
        self.commands
            .lock()
            .expect("not poisoned")
            .retain(|command| command.id != id);
        Ok(())
    }
    async fn save_dead_letter(&self, letter: StoredDeadLetter) -> Result<()> {
        self.letters.lock().expect("not poisoned").push(letter);
        Ok(())
    }
    async fn load_dead_letters(&self) -> Result<Vec<StoredDeadLetter>> {
        Ok(self.letters.lock().expect("not poisoned").clone())
    }
    async fn clear_dead_letters(&self) -> Result<()> {
        self.letters.lock().expect("not poisoned").clear();
        Ok(())
    }
    async fn clear_all(&self) -> Result<()> {
        self.commands.lock().expect("not poisoned").clear();
        self.letters.lock().expect("not poisoned").clear();
        Ok(())
    }
}

async fn conforms(storage: Arc<dyn Storage>) -> Result<()> {
    storage.save_command(command("a")).await?;
    storage.save_command(command("b")).await?;
    storage.remove_command("a").await?;
    storage.remove_command("unknown").await?;
    let commands = storage.load_commands().await?;
    assert_eq!(commands.len(), 1);
    assert_eq!(commands[0].id, "b");
    assert_eq!(commands[0].payload, json!({"k": 1}));
    storage.save_dead_letter(letter("a")).await?;
    assert_eq!(storage.load_dead_letters().await?[0].command_id, "a");
    storage.clear_dead_letters().await?;
    assert!(storage.load_dead_letters().await?.is_empty());
    storage.save_dead_letter(letter("b")).await?;
    storage.clear_all().await?;
    assert!(storage.load_commands().await?.is_empty());
    assert!(storage.load_dead_letters().await?.is_empty());
    Ok(())
}

#[test]
fn traits() {
    fn is_storage<S: Storage + Send + Sync + 'static>() {}
    is_storage::<Memory>();
    #[cfg(feature = "local-storage")]
    is_storage::<LocalStorage>();
    crate::is_shared::<Arc<dyn Storage>>();
    crate::is_value::<StoredCommand>();
    crate::is_serde::<StoredCommand>();
    crate::is_value::<StoredDeadLetter>();
    crate::is_serde::<StoredDeadLetter>();
}

#[test]
fn json_form() {
    let json = serde_json::to_value(command("a")).expect("written");
    let mut names: Vec<&str> = json
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "command_type",
            "created_at",
            "id",
            "lane_id",
            "last_attempt_at",
            "payload",
            "retry_count"
        ]
    );
}

#[tokio::test]
async fn a_users_own_storage() {
    let storage = tokio::spawn(conforms(Arc::new(Memory::default())));
    storage.await.expect("no panic").expect("no error");
}

#[cfg(feature = "local-storage")]
#[tokio::test]
async fn local_storage_and_its_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let place: std::path::PathBuf = folder.path().join("deep").join("queue");
    let storage: LocalStorage = crate::send(LocalStorage::new(place.clone()))
        .await
        .expect("the folder is made");
    assert!(place.is_dir());
    conforms(Arc::new(storage)).await.expect("no error");

    let storage = LocalStorage::new(place.clone()).await.expect("opens");
    storage.save_command(command("a")).await.expect("saved");
    storage.save_dead_letter(letter("b")).await.expect("saved");
    drop(storage);
    let again = LocalStorage::new(place).await.expect("opens");
    let commands = again.load_commands().await.expect("loaded");
    assert_eq!(
        commands
            .iter()
            .map(|command| &*command.id)
            .collect::<Vec<_>>(),
        ["a"]
    );
    let letters = again.load_dead_letters().await.expect("loaded");
    assert_eq!(
        letters
            .iter()
            .map(|letter| &*letter.command_id)
            .collect::<Vec<_>>(),
        ["b"]
    );
}

#[cfg(feature = "local-storage")]
#[tokio::test]
async fn the_files_of_0_4_are_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    for (file, text) in [
        (
            "commands.json",
            serde_json::to_string_pretty(&[command("a")]),
        ),
        (
            "dead_letters.json",
            serde_json::to_string_pretty(&[letter("b")]),
        ),
    ] {
        std::fs::write(folder.path().join(file), text.expect("it is JSON")).expect("written");
    }
    let storage = LocalStorage::new(folder.path().into())
        .await
        .expect("opens");
    assert_eq!(storage.load_commands().await.expect("loaded")[0].id, "a");
    let letters = storage.load_dead_letters().await.expect("loaded");
    assert_eq!(letters[0].command_id, "b");
}
