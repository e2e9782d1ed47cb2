//! Any aggregate, where the kind is known only at run time: for replaying recorded streams.
//!
//! Whoever carries commands out knows the kind; see [`mod@crate::event_sourced`].

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;

use crate::{
    account::Account,
    credential::Credential,
    event::{Command, Event},
    event_sourced::{EventSourced, refusal_code},
    execution::Execution,
    idea::Idea,
    node::Node,
    project::Project,
    session::Session,
    workspace::Workspace,
};

/// Why a command was refused: its code and its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: String,
    pub reason: String,
}

macro_rules! aggregates {
    ($($noun:ident)*) => {
        /// The state of one aggregate. In JSON it is the state alone.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Aggregate {
            $($noun(Box<$noun>),)*
        }

        impl Aggregate {
            /// One without events; none where the kind is no aggregate's.
            pub fn new(kind: &str) -> Option<Self> {
                $(if kind == <$noun as EventSourced>::TYPE {
                    return Some(Self::$noun(Box::default()));
                })*
                None
            }

            /// Folds one recorded event. The error says why the event cannot follow on the state, which
            /// is of no use then.
            pub fn evolve(&mut self, event: &Event) -> Result<(), String> {
                match (self, event) {
                    $((Self::$noun(state), Event::$noun(_, event)) => {
                        let event = event.clone();
                        catch_unwind(AssertUnwindSafe(|| state.evolve(event)))
                            .map_err(|panic| said(panic.as_ref()))
                    })*
                    (_, event) => {
                        Err(format!("this is an event of another kind of stream: {}", event.stream().0))
                    }
                }
            }

            /// A command that leads to these events from this state; see [`EventSourced::command_of`].
            pub fn command_of(&self, events: &[Event]) -> Option<Command> {
                match self {
                    $(Self::$noun(state) => {
                        let own = events.iter().map(|event| match event {
                            Event::$noun(id, event) => Some((*id, event.clone())),
                            _ => None,
                        });
                        let (ids, events): (Vec<_>, Vec<_>) =
                            own.collect::<Option<Vec<_>>>()?.into_iter().unzip();
                        let command = EventSourced::command_of(state.as_ref(), &events)?;
                        Some(Command::$noun(*ids.first()?, command))
                    })*
                }
            }

            /// Decides once more what was decided.
            pub fn decide(&self, command: &Command) -> Result<Vec<Event>, Refusal> {
                match (self, command) {
                    $((Self::$noun(state), Command::$noun(id, command)) => {
                        match EventSourced::decide(state.as_ref(), command.clone()) {
                            Ok(events) => {
                                Ok(events.into_iter().map(|event| Event::$noun(*id, event)).collect())
                            }
                            Err(error) => Err(Refusal {
                                code: refusal_code(&error),
                                reason: error.to_string(),
                            }),
                        }
                    })*
                    (_, command) => Err(Refusal {
                        code: "wrong_kind".to_owned(),
                        reason: format!("this is a command to another kind of stream: {}", command.stream().0),
                    }),
                }
            }
        }
    };
}

aggregates! { Account Credential Project Idea Execution Node Workspace Session }

/// What a panic said: `evolve` asserts what `decide` guards.
pub fn said(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "the fold failed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        execution::{ExecutionCommand, ExecutionEvent},
        testing::{execution, idea, noon, project, session, settings},
        values::Step,
    };

    fn begun() -> Aggregate {
        let mut state = Aggregate::new("execution").unwrap();
        let event = ExecutionEvent::Requested {
            idea: idea(1),
            project: project(1),
            session: session(1),
            settings: Box::new(settings()),
        };
        state.evolve(&(execution(1), event).into()).unwrap();
        state
    }

    #[test]
    fn a_state_of_any_kind_is_json_without_a_name_around_it() {
        let json = serde_json::to_value(begun()).unwrap();
        assert_eq!(json["UnderWay"]["is_cancelled"], false, "{json}");
        assert_eq!(Aggregate::new("run_execution"), None);
    }

    #[test]
    fn what_was_decided_is_decided_again() {
        let step = ExecutionCommand::StartStep { step: Step::Running, reason: "why".to_owned() };
        let events = begun().decide(&(execution(1), step).into()).unwrap();
        let event = ExecutionEvent::StepStarted { step: Step::Running, reason: "why".to_owned() };
        assert_eq!(events, [Event::from((execution(1), event))]);
        let input = ExecutionCommand::AnswerInput { choice: crate::execution::InputChoice::Park };
        let refused = begun().decide(&(execution(1), input).into()).unwrap_err();
        assert_eq!(refused.code, "nothing_asked");
    }

    #[test]
    fn an_event_that_cannot_follow_is_refused_with_the_reason() {
        let mut state = begun();
        let step = |step| -> Event {
            let reason = noon().to_rfc3339();
            (execution(1), ExecutionEvent::StepStarted { step, reason }).into()
        };
        state.evolve(&step(Step::Running)).unwrap();
        let why = state.evolve(&step(Step::NodeSelection)).unwrap_err();
        assert!(why.contains("only go forward"), "{why}");
    }
}
