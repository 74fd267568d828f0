//! A storage in memory whose calls can be held back.

use std::sync::{Arc, Mutex};

use a3s_lane::{Result, Storage, StoredCommand, StoredDeadLetter};
use async_trait::async_trait;

use super::Gate;

/// Keeps commands. Saves and removals pass their gate, where there is one.
#[derive(Default)]
pub(crate) struct Shelf {
    commands: Mutex<Vec<StoredCommand>>,
    saves: Option<Gate>,
    removals: Option<Gate>,
}

impl Shelf {
    /// The types of the commands that are stored.
    pub(crate) fn stored(&self) -> Vec<String> {
        let commands = self.commands.lock().expect("not poisoned");
        commands
            .iter()
            .map(|command| command.command_type.clone())
            .collect()
    }

    pub(crate) fn commands(&self) -> Vec<StoredCommand> {
        self.commands.lock().expect("not poisoned").clone()
    }

    pub(crate) fn with_saves_behind(gate: &Gate) -> Arc<Self> {
        Arc::new(Self {
            saves: Some(gate.clone()),
            ..Self::default()
        })
    }

    pub(crate) fn with_removals_behind(gate: &Gate) -> Arc<Self> {
        Arc::new(Self {
            removals: Some(gate.clone()),
            ..Self::default()
        })
    }
}

#[async_trait]
impl Storage for Shelf {
    async fn save_command(&self, command: StoredCommand) -> Result<()> {
        if let Some(gate) = &self.saves {
            gate.pass().await;
        }
        let mut commands = self.commands.lock().expect("not poisoned");
        match commands.iter_mut().find(|known| known.id == command.id) {
            Some(known) => *known = command,
            None => commands.push(command),
        }
        Ok(())
    }
    async fn load_commands(&self) -> Result<Vec<StoredCommand>> {
        Ok(self.commands())
    }
    async fn remove_command(&self, id: &str) -> Result<()> {
        if let Some(gate) = &self.removals {
            gate.pass().await;
        }
        let mut commands = self.commands.lock().expect("not poisoned");
        commands.retain(|command| command.id != id);
        Ok(())
    }
    async fn save_dead_letter(&self, _letter: StoredDeadLetter) -> Result<()> {
        Ok(())
    }
    async fn load_dead_letters(&self) -> Result<Vec<StoredDeadLetter>> {
        Ok(Vec::new())
    }
    async fn clear_dead_letters(&self) -> Result<()> {
        Ok(())
    }
    async fn clear_all(&self) -> Result<()> {
        self.commands.lock().expect("not poisoned").clear();
        Ok(())
    }
}
