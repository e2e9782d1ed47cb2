//! The demo agent's memory of a conversation, so that it can be loaded again by a later process.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;

use crate::place;

/// One conversation: a file with one update a line.
pub(super) struct History {
    name: String,
    file: File,
    n_turns: AtomicU32,
}

impl History {
    /// Begins one under the first name that is free.
    pub(super) fn create() -> io::Result<Self> {
        let directory = directory()?;
        let mut number = 1_u32;
        loop {
            let name = format!("demo-{number}");
            match File::options().append(true).create_new(true).open(directory.join(&name)) {
                Ok(file) => return Ok(Self { name, file, n_turns: AtomicU32::new(0) }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes one up again, with the updates it has.
    pub(super) fn load(name: &str) -> io::Result<(Self, Vec<Value>)> {
        let is_ours = name.strip_prefix("demo-").is_some_and(|rest| rest.parse::<u32>().is_ok());
        if !is_ours {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        let file = File::options().read(true).append(true).open(directory()?.join(name))?;
        let lines = BufReader::new(file.try_clone()?).lines();
        let updates: Vec<Value> =
            lines.filter_map(|line| serde_json::from_str(&line.ok()?).ok()).collect();
        let is_prompt = |update: &&Value| update["sessionUpdate"] == "user_message_chunk";
        let n_turns = u32::try_from(updates.iter().filter(is_prompt).count()).unwrap_or(u32::MAX);
        let n_turns = AtomicU32::new(n_turns);
        Ok((Self { name: name.to_string(), file, n_turns }, updates))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Numbers the turns of the conversation from 1, over all processes that took part in it.
    pub(super) fn next_turn(&self) -> u32 {
        self.n_turns.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Remembers an update. On a full disk the conversation goes on without its memory.
    pub(super) fn remember(&self, update: &Value) {
        let _ = (&self.file).write_all(format!("{update}\n").as_bytes());
    }
}

fn directory() -> io::Result<PathBuf> {
    let directory = place::directory()?.join("demo-agent");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}
