//! The shape of an aggregate: `decide` chooses events, `evolve` folds them.
//!
//! The `event_sourced!` macro ties an aggregate to cqrs-es, so that its test framework and its
//! traits work on ours. What cqrs-es calls `handle` is only `decide` with each event written to the sink.
//!
//! On disk an event is a type name and a payload. Both come from serde's externally tagged form,
//! so a variant is named in one place; names and shapes are a storage contract (`event_names.txt`).

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Something whose state is the fold of its events.
pub trait EventSourced:
    Default + Clone + fmt::Debug + PartialEq + Send + Sync + Unpin + 'static
{
    /// The kind of its streams.
    const TYPE: &'static str;
    type Command: Clone + fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static;
    type Event: EventPayload;
    type Error: std::error::Error + Clone + PartialEq + Serialize + Send + Sync + 'static;

    /// Answers a command with the events it causes. Reads the state and changes nothing.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Error>;

    /// Folds one recorded event into the state. Decides nothing and never fails.
    fn evolve(&mut self, event: Self::Event);

    /// A command that leads to these events from this state: what was commanded, as far as the events of one
    /// command tell. What they leave out the state fills in; none where no command leads to them.
    fn command_of(&self, _events: &[Self::Event]) -> Option<Self::Command> {
        None
    }

    /// The state as text, to be kept beside its stream; none where it is not worth keeping.
    fn to_snapshot(&self) -> Option<String> {
        None
    }

    /// The reverse of [`EventSourced::to_snapshot`]; none where the text is another state's.
    fn from_snapshot(_text: &str) -> Option<Self> {
        None
    }
}

/// The fingerprint of these rules: a state that was kept under another one is not used.
pub const FINGERPRINT: &str = env!("DOMAIN_FINGERPRINT");

/// An event that can be stored.
pub trait EventPayload:
    Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + Unpin + 'static
{
    /// Splits it into its type name and its payload.
    fn stored(&self) -> (String, Value) {
        match serde_json::to_value(self) {
            Ok(Value::String(name)) => (name, Value::Null),
            Ok(Value::Object(fields)) => match fields.into_iter().next() {
                Some(field) => field,
                None => unreachable!("an enum is never an empty object"),
            },
            other => unreachable!("an event is an externally tagged enum, not {other:?}"),
        }
    }

    /// The reverse of [`EventPayload::stored`].
    fn restored(name: &str, payload: Value) -> Result<Self, serde_json::Error> {
        let tagged = match payload {
            Value::Null => Value::String(name.to_owned()),
            payload => Value::Object([(name.to_owned(), payload)].into_iter().collect()),
        };
        serde_json::from_value(tagged)
    }

    /// The same from the payload's text, without a value in between: streams are folded from this.
    fn restored_text(name: &str, payload: &str) -> Result<Self, serde_json::Error> {
        let name = Value::from(name);
        match payload {
            "null" => serde_json::from_str(&name.to_string()),
            payload => serde_json::from_str(&format!("{{{name}:{payload}}}")),
        }
    }
}

/// The machine-readable name of a refusal: the variant of its error enum, in snake case.
pub fn refusal_code(error: &impl Serialize) -> String {
    match serde_json::to_value(error) {
        Ok(Value::String(code)) => code,
        Ok(Value::Object(fields)) => fields.keys().next().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}

/// JSON text with sorted keys and no spaces: the same value gives the same bytes, and so the same hash.
pub fn canonical_json(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(canonical_json).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let fields: Vec<_> = fields
                .into_iter()
                .map(|(name, value)| {
                    format!("{}:{}", Value::String(name.clone()), canonical_json(value))
                })
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        scalar => scalar.to_string(),
    }
}

/// Ties an aggregate to this crate's trait and to cqrs-es.
#[macro_export]
macro_rules! event_sourced {
    ($state:ident, $kind:literal, $command:ident, $event:ident, $error:ident) => {
        impl $crate::event_sourced::EventPayload for $event {}

        impl $crate::event_sourced::EventSourced for $state {
            const TYPE: &'static str = $kind;
            type Command = $command;
            type Event = $event;
            type Error = $error;

            fn decide(&self, command: $command) -> Result<Vec<$event>, $error> {
                $state::decide(self, command)
            }

            fn evolve(&mut self, event: $event) {
                $state::evolve(self, event);
            }

            fn command_of(&self, events: &[$event]) -> Option<$command> {
                $state::command_of(self, events)
            }

            fn to_snapshot(&self) -> Option<String> {
                serde_json::to_string(self).ok()
            }

            fn from_snapshot(text: &str) -> Option<Self> {
                serde_json::from_str(text).ok()
            }
        }

        impl cqrs_es::DomainEvent for $event {
            fn event_type(&self) -> String {
                $crate::event_sourced::EventPayload::stored(self).0
            }

            fn event_version(&self) -> String {
                $crate::event::registry::version($kind, &cqrs_es::DomainEvent::event_type(self))
            }
        }

        impl cqrs_es::Aggregate for $state {
            const TYPE: &'static str = $kind;
            type Command = $command;
            type Event = $event;
            type Error = $error;
            type Services = ();

            async fn handle(
                &mut self,
                command: $command,
                (): &(),
                sink: &cqrs_es::event_sink::EventSink<Self>,
            ) -> Result<(), $error> {
                for event in self.decide(command)? {
                    sink.write(event, self).await;
                }
                Ok(())
            }

            fn apply(&mut self, event: $event) {
                self.evolve(event);
            }
        }
    };
}
