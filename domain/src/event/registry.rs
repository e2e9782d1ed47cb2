//! What stored events are called, which versions of them there are, and how an old one becomes the newest.
//!
//! One place for all of it: names are the lines of `event_names.txt`, and an event's newest version is
//! one more than the number of its upcasters. Every reader of the log folds the newest version only; what
//! is on disk stays as it was written, and so do the hashes over it.
//!
//! A stored event that this program does not understand is an error that names it: its stream is
//! damaged then, and no other. Which position it has the caller adds.
//!
//! Read next: `ops/evolution.md` says how to change an event.

use std::{collections::HashMap, sync::LazyLock};

use cqrs_es::persist::{EventUpcaster, SerializedEvent};
use serde_json::Value;

use crate::event_sourced::EventPayload;

const NAMES: &str = include_str!("../../event_names.txt");

/// All steps from an old version of an event to the next. Each is a pure function of the payload.
///
/// Empty as long as no released event was changed. A process's `reacted` carries whole events of other
/// streams; where one of those changes, [`of_nested`] says how `reacted` has to change with it.
pub static UPCASTERS: &[Upcaster] = &[];

/// The registry of this program.
pub static CURRENT: LazyLock<Registry> = LazyLock::new(|| Registry::new(NAMES, UPCASTERS));

/// One step from a version of an event to the next.
#[derive(Clone, Copy, Debug)]
pub struct Upcaster {
    /// Kind of its stream, for example `idea`.
    pub kind: &'static str,
    pub name: &'static str,
    /// The version that it understands; it gives the next one.
    pub from: u32,
    /// From the payload as stored under `from` to the payload of the next version.
    pub upcast: fn(Value) -> Value,
}

impl EventUpcaster for Upcaster {
    fn can_upcast(&self, event_type: &str, event_version: &str) -> bool {
        event_type == self.name && event_version.parse() == Ok(self.from)
    }

    /// Leaves an event of the same name in another kind of stream as it is.
    fn upcast(&self, event: SerializedEvent) -> SerializedEvent {
        if event.aggregate_type != self.kind {
            return event;
        }
        let event_version = (self.from + 1).to_string();
        SerializedEvent { event_version, payload: (self.upcast)(event.payload), ..event }
    }
}

/// Why a stored event cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Nobody ever wrote such an event, or a newer program did.
    #[error(
        "event `{kind} {name}` version {version} is unknown to this program: start the one that wrote it"
    )]
    Unknown { kind: String, name: String, version: String },
    /// A newer program wrote it.
    #[error(
        "event `{kind} {name}` has version {version}, newer than {newest}, the newest that this program knows: \
         start the one that wrote it"
    )]
    Newer { kind: String, name: String, version: String, newest: u32 },
    /// The row is not what its name and version say.
    #[error("event `{kind} {name}` version {version} is malformed: {reason}")]
    Malformed { kind: String, name: String, version: String, reason: String },
}

/// Names, versions and upcasters.
#[derive(Debug)]
pub struct Registry {
    kinds: HashMap<&'static str, HashMap<&'static str, Vec<Upcaster>>>,
}

impl Registry {
    /// Makes a registry of lines `kind name` and the upcasters of these events.
    ///
    /// # Panics
    /// Where an upcaster is of no event, or the versions of an event have a gap: both are mistakes of this program.
    #[must_use]
    pub fn new(names: &'static str, upcasters: &[Upcaster]) -> Self {
        let mut kinds: HashMap<_, HashMap<_, Vec<Upcaster>>> = HashMap::new();
        for line in names.lines().filter(|line| !line.starts_with('#')) {
            if let Some((kind, name)) = line.trim().split_once(' ') {
                kinds.entry(kind).or_default().insert(name, Vec::new());
            }
        }
        for upcaster in upcasters {
            let steps = kinds.get_mut(upcaster.kind).and_then(|names| names.get_mut(upcaster.name));
            let steps = steps.expect("an upcaster is of an event that is in the list of names");
            steps.push(*upcaster);
            assert_eq!(steps.len(), upcaster.from as usize, "versions are 1, 2, 3 …");
        }
        Self { kinds }
    }

    /// The newest version of an event; none where it is unknown.
    #[must_use]
    pub fn version(&self, kind: &str, name: &str) -> Option<u32> {
        Some(newest(self.kinds.get(kind)?.get(name)?))
    }

    /// Every event that a log may hold: kind, name, newest version. In no order.
    pub fn events(&self) -> impl Iterator<Item = (&'static str, &'static str, u32)> {
        self.kinds.iter().flat_map(|(kind, names)| {
            names.iter().map(|(name, steps)| (*kind, *name, newest(steps)))
        })
    }

    /// Reads a stored event of the newest version, or of an older one by upcasting it.
    pub fn read<E: EventPayload>(
        &self,
        kind: &str,
        name: &str,
        version: &str,
        payload: &str,
    ) -> Result<E, Unreadable> {
        let malformed = |reason: &dyn ToString| Unreadable::Malformed {
            kind: kind.to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
            reason: reason.to_string(),
        };
        let steps = self.steps(kind, name, version)?;
        if steps.is_empty() {
            return E::restored_text(name, payload).map_err(|error| malformed(&error));
        }
        let payload = serde_json::from_str(payload).map_err(|error| malformed(&error))?;
        let payload = steps.iter().fold(payload, |payload, step| (step.upcast)(payload));
        E::restored(name, payload).map_err(|error| malformed(&error))
    }

    /// The payload of a stored event as the newest version has it.
    pub fn upcast(
        &self,
        kind: &str,
        name: &str,
        version: &str,
        payload: Value,
    ) -> Result<Value, Unreadable> {
        let steps = self.steps(kind, name, version)?;
        Ok(steps.iter().fold(payload, |payload, step| (step.upcast)(payload)))
    }

    /// What brings a stored version to the newest.
    fn steps(&self, kind: &str, name: &str, version: &str) -> Result<&[Upcaster], Unreadable> {
        let unknown = || Unreadable::Unknown {
            kind: kind.to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
        };
        let steps = self.kinds.get(kind).and_then(|names| names.get(name)).ok_or_else(unknown)?;
        let stored: usize = version.parse().map_err(|_| unknown())?;
        match stored.checked_sub(1) {
            None => Err(unknown()),
            Some(n_done) => steps.get(n_done..).ok_or_else(|| Unreadable::Newer {
                kind: kind.to_owned(),
                name: name.to_owned(),
                version: version.to_owned(),
                newest: newest(steps),
            }),
        }
    }
}

/// The version that the last step gives.
fn newest(steps: &[Upcaster]) -> u32 {
    u32::try_from(steps.len() + 1).unwrap_or(u32::MAX)
}

/// Reads a stored event of an aggregate or process. See [`Registry::read`].
pub fn read<E: EventPayload>(
    kind: &str,
    name: &str,
    version: &str,
    payload: &str,
) -> Result<E, Unreadable> {
    CURRENT.read(kind, name, version, payload)
}

/// The version under which this program stores an event.
pub fn version(kind: &str, name: &str) -> String {
    CURRENT.version(kind, name).unwrap_or(1).to_string()
}

/// Upcasts the event of one kind and name inside a process's `reacted`: that event has no version of its own there,
/// so changing it is a new version of `reacted` too, with this as its upcaster.
pub fn of_nested(upcaster: &Upcaster, mut reacted: Value) -> Value {
    let nested = reacted
        .pointer_mut("/stimulus/happened/event")
        .and_then(|event| event.get_mut(upcaster.kind)?.get_mut(1)?.get_mut(upcaster.name));
    if let Some(payload) = nested {
        *payload = (upcaster.upcast)(payload.take());
    }
    reacted
}

#[cfg(test)]
mod tests;
