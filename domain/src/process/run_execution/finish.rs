//! The end of an execution: bring the work out of the container, record how it ended, give the machine back.
//!
//! The container goes only after the push, or the checkpoint of unpushed work, is confirmed. Where neither succeeds
//! the workspace is kept, and the reason says so.

use crate::{
    agent_protocol::RefusalKind,
    execution::{Ending, ExecutionCommand},
    idea::IdeaCommand,
    node::NodeCommand,
    process::{
        Intent, OrderIntent, Outcome, Reaction,
        run_execution::{Going, Phase},
    },
    session::SessionCommand,
    values::Timestamp,
    workspace::WorkspaceCommand,
};

impl Going {
    /// A cancel wins over everything that has not ended.
    pub(super) fn cancel(&self) -> Reaction {
        if self.is_ending {
            return Reaction::none(); // Whether it comes too late, the execution itself decides.
        }
        if self.phase < Phase::Attached {
            return self.end_without_work(&Ending::Cancel);
        }
        self.save(Ending::Cancel)
    }

    /// Cannot go on. Until a coding agent was there, no work has to be saved.
    pub(super) fn give_up(&self, reason: &str) -> Reaction {
        let ending = Ending::Fail { reason: reason.to_owned() };
        if self.phase < Phase::Attached {
            return self.end_without_work(&ending);
        }
        self.save(ending)
    }

    /// Commands under way are still carried out, in order, before this: what they bring about is
    /// undone by [`Self::close`].
    fn end_without_work(&self, ending: &Ending) -> Reaction {
        Reaction::instead([self.end(ending, None)])
    }

    /// Brings the work out: to the branch if all went well, else to the checkpoint.
    pub(super) fn save(&self, ending: Ending) -> Reaction {
        let session = self.request.session;
        let is_checkpoint = ending != Ending::Complete;
        let mut intents = vec![self.tell(ExecutionCommand::Finish { ending })];
        if is_checkpoint {
            intents.push(self.order(OrderIntent::StopSession { session }));
        }
        intents.push(self.publish(is_checkpoint));
        Reaction { intents, abandons: true }
    }

    pub(super) fn on_published(&self, is_checkpoint: bool, outcome: &Outcome) -> Reaction {
        let Some(ending) = self.ending.as_ref().filter(|_| !self.is_ending) else {
            return Reaction::none();
        };
        match outcome {
            Outcome::Published { result } => {
                let checkpoint = result.reference.clone().filter(|_| is_checkpoint);
                let mut intents = Vec::new();
                if *ending != Ending::Cancel {
                    let result = Box::new(result.clone());
                    intents.push(self.tell(ExecutionCommand::RecordResult { result }));
                }
                intents.push(self.end(ending, checkpoint));
                Reaction { intents, abandons: true }
            }
            // The node knows no such container: there is nothing to save, and nothing to keep.
            Outcome::Failed { kind: RefusalKind::Unknown, reason } => {
                Reaction::instead([self.end(&failed_or_cancelled(ending, reason), None)])
            }
            Outcome::Failed { reason, .. } | Outcome::Refused { reason, .. } if !is_checkpoint => {
                self.save(failed_or_cancelled(ending, reason))
            }
            Outcome::Failed { reason, .. } | Outcome::Refused { reason, .. } => {
                Reaction::instead([self.end(&kept(ending, reason), None)])
            }
            _ => Reaction::none(),
        }
    }

    /// Goes on once the execution has answered to its end.
    pub(super) fn on_ended(
        &self,
        command: &ExecutionCommand,
        outcome: &Outcome,
        at: Timestamp,
    ) -> Reaction {
        match (command, outcome) {
            // A cancel was faster, and wins.
            (ExecutionCommand::Complete, Outcome::Refused { .. }) => {
                Reaction::instead([self.end(&Ending::Cancel, None)])
            }
            (ExecutionCommand::Fail { checkpoint, .. }, Outcome::Refused { .. }) => {
                Reaction::instead([self.end(&Ending::Cancel, checkpoint.clone())])
            }
            (_, _) => self.close(at),
        }
    }

    /// What an execution is told at its end.
    fn end(&self, ending: &Ending, checkpoint: Option<String>) -> Intent {
        self.tell(match ending {
            Ending::Complete => ExecutionCommand::Complete,
            Ending::Fail { reason } => {
                ExecutionCommand::Fail { reason: reason.clone(), checkpoint }
            }
            Ending::Cancel => ExecutionCommand::RecordCancelled { checkpoint },
        })
    }

    /// Ends the session's part and the idea's, and gives back the container and its slot.
    fn close(&self, at: Timestamp) -> Reaction {
        let execution = self.execution();
        let stage = match &self.ending {
            Some(Ending::Complete) => IdeaCommand::RecordDone { execution },
            Some(Ending::Fail { reason }) => {
                IdeaCommand::RecordParked { execution, reason: reason.clone() }
            }
            Some(Ending::Cancel) | None => {
                IdeaCommand::RecordParked { execution, reason: "cancelled".to_owned() }
            }
        };
        let ended = SessionCommand::EndExecution { execution };
        let mut intents =
            vec![Intent::tell((self.idea, stage)), Intent::tell((self.request.session, ended))];
        // Closing the workspace releases its slot; before there is one, it is done here.
        if self.phase >= Phase::Opening {
            if !self.keeps_workspace {
                intents.push(self.stop_workspace());
            }
        } else if let Some(node) = self.node {
            intents.push(Intent::tell((node, self.release(at))));
        }
        Reaction { intents, abandons: true }
    }

    fn publish(&self, is_checkpoint: bool) -> Intent {
        let (workspace, execution) = (self.workspace(), self.execution());
        self.order(OrderIntent::Publish { workspace, execution, is_checkpoint })
    }

    fn stop_workspace(&self) -> Intent {
        let reason = "its execution ended".to_owned();
        Intent::tell((self.workspace(), WorkspaceCommand::Stop { reason }))
    }

    fn release(&self, now: Timestamp) -> NodeCommand {
        let warm_ms = self.request.settings.periods.node_warm_ms;
        NodeCommand::ReleaseWorkspace { workspace: self.workspace(), now, warm_ms }
    }
}

/// A cancel stays a cancel; everything else becomes a failure for the first reason there was.
fn failed_or_cancelled(ending: &Ending, reason: &str) -> Ending {
    match ending {
        Ending::Complete => Ending::Fail { reason: reason.to_owned() },
        Ending::Fail { .. } | Ending::Cancel => ending.clone(),
    }
}

fn kept(ending: &Ending, reason: &str) -> Ending {
    let first = match ending {
        Ending::Fail { reason } => reason,
        Ending::Complete => "the work could not be saved",
        Ending::Cancel => "cancelled",
    };
    let reason =
        format!("{first}; the workspace is kept, because saving its work failed: {reason}");
    Ending::Fail { reason }
}
