//! One sentence for people about each event, without personal text.

pub mod process;

use domain::{
    account::AccountEvent,
    agent_protocol::{StepState, TurnEnd},
    credential::CredentialEvent,
    event::Event,
    execution::{Ending, ExecutionEvent, InputChoice},
    idea::IdeaEvent,
    node::NodeEvent,
    project::ProjectEvent,
    session::SessionEvent,
    values::Step,
    workspace::WorkspaceEvent,
};

/// What happened, in the words of the product.
#[must_use]
pub fn summary(event: &Event) -> String {
    match event {
        Event::Account(_, AccountEvent::Registered { .. }) => "account registered".into(),
        Event::Account(_, AccountEvent::Renamed { .. }) => "account renamed".into(),
        Event::Account(_, AccountEvent::ErasureRequested) => "account is to be erased".into(),
        Event::Account(_, AccountEvent::Erased) => "account erased".into(),
        Event::Credential(_, CredentialEvent::Stored { kind, .. }) => {
            format!("{} key stored", kind.name())
        }
        Event::Credential(_, CredentialEvent::Removed { kind, .. }) => {
            format!("{} key removed", kind.name())
        }
        Event::Project(_, event) => of_project(event),
        Event::Idea(_, event) => of_idea(event),
        Event::Execution(_, event) => of_execution(event),
        Event::Node(_, event) => of_node(event),
        Event::Workspace(_, event) => of_workspace(event),
        Event::Session(_, event) => of_session(event),
    }
}

fn of_project(event: &ProjectEvent) -> String {
    match event {
        ProjectEvent::Linked { name, .. } => format!("project {name} linked"),
        ProjectEvent::Renamed { name } => format!("project renamed to {name}"),
        ProjectEvent::DefaultsChanged { .. } => "defaults changed".into(),
        ProjectEvent::VariableSet { name, is_secret: false, .. } => format!("variable {name} set"),
        ProjectEvent::VariableSet { name, is_secret: true, .. } => {
            format!("secret variable {name} set")
        }
        ProjectEvent::VariableRemoved { name } => format!("variable {name} removed"),
        ProjectEvent::ErasureRequested => "project is to be erased".into(),
        ProjectEvent::StreamsErased { .. } => "texts of the project erased".into(),
        ProjectEvent::Erased => "project erased".into(),
    }
}

fn of_idea(event: &IdeaEvent) -> String {
    match event {
        IdeaEvent::Drafted { .. } => "idea written".into(),
        IdeaEvent::Described { .. } => "idea rewritten".into(),
        IdeaEvent::MarkedExploring => "idea moved to Exploring".into(),
        IdeaEvent::MarkedReady => "idea moved to Ready".into(),
        IdeaEvent::ExecutionRequested { request, .. } => {
            format!("idea submitted to {}", request.settings.coding_agent.name())
        }
        IdeaEvent::Titled { .. } => "idea got a title".into(),
        IdeaEvent::Done { .. } => "idea done".into(),
        IdeaEvent::Parked { reason, .. } => format!("idea parked: {reason}"),
    }
}

fn of_execution(event: &ExecutionEvent) -> String {
    match event {
        ExecutionEvent::Requested { settings, .. } => {
            format!("execution requested on branch {}", settings.branch)
        }
        ExecutionEvent::StepStarted { step, reason } => format!("{}: {reason}", step_name(*step)),
        ExecutionEvent::Waited { reason } => format!("waiting: {reason}"),
        ExecutionEvent::Placed { .. } => "a slot on a node was taken".into(),
        ExecutionEvent::CancelRequested => "cancel requested".into(),
        ExecutionEvent::InputAsked { reason, .. } => format!("needs input: {reason}"),
        ExecutionEvent::InputAnswered { choice: InputChoice::Continue } => {
            "told to continue".into()
        }
        ExecutionEvent::InputAnswered { choice: InputChoice::Park } => "told to park".into(),
        ExecutionEvent::FinishBegun { ending: Ending::Complete } => {
            "bringing the work to its branch".into()
        }
        ExecutionEvent::FinishBegun { .. } => "saving unpushed work".into(),
        ExecutionEvent::ResultRecorded { result } => match &result.reference {
            Some(reference) => format!("{} commits on {reference}", result.n_commits),
            None => "nothing was changed".into(),
        },
        ExecutionEvent::Done => "done".into(),
        ExecutionEvent::Failed { reason, checkpoint } => {
            format!("failed: {reason}{}", saved_in(checkpoint.as_deref()))
        }
        ExecutionEvent::Cancelled { checkpoint } => {
            format!("cancelled{}", saved_in(checkpoint.as_deref()))
        }
    }
}

fn saved_in(checkpoint: Option<&str>) -> String {
    checkpoint.map(|reference| format!("; unpushed work is in {reference}")).unwrap_or_default()
}

fn step_name(step: Step) -> &'static str {
    match step {
        Step::NodeSelection => "node selection",
        Step::NodeProvisioning => "node provisioning",
        Step::NodeAgentReady => "node agent",
        Step::WorkspaceCreation => "workspace creation",
        Step::WorkspaceReady => "workspace ready",
        Step::AgentSession => "agent session",
        Step::Running => "running",
    }
}

fn of_node(event: &NodeEvent) -> String {
    match event {
        NodeEvent::Requested { spec } => format!("node {} requested", spec.name),
        NodeEvent::Started { slots, version } => {
            format!("node started with {slots} slots and agent {version}")
        }
        NodeEvent::WorkspacePlaced { .. } => "workspace placed on the node".into(),
        NodeEvent::WorkspaceReleased { .. } => "workspace's slot given back".into(),
        NodeEvent::Warmed { until } => format!("node kept warm until {}", until.to_rfc3339()),
        NodeEvent::StopRequested { reason, .. } => format!("node told to stop: {reason}"),
        NodeEvent::Stopped => "node stopped".into(),
        NodeEvent::Failed { reason } => format!("node failed: {reason}"),
    }
}

fn of_workspace(event: &WorkspaceEvent) -> String {
    match event {
        WorkspaceEvent::Requested { spec, .. } => {
            format!("workspace requested on branch {}", spec.branch)
        }
        WorkspaceEvent::BootStepRecorded { step, state, .. } => {
            let state = match state {
                StepState::Started => "started",
                StepState::Completed => "completed",
                StepState::Failed => "failed",
            };
            format!("boot step {step} {state}")
        }
        WorkspaceEvent::Started { base_branch, .. } => {
            format!("workspace running, based on {base_branch}")
        }
        WorkspaceEvent::Failed { reason, .. } => format!("workspace failed: {reason}"),
        WorkspaceEvent::StopRequested { reason, .. } => {
            format!("workspace told to stop: {reason}")
        }
        WorkspaceEvent::Stopped => "workspace removed".into(),
    }
}

fn of_session(event: &SessionEvent) -> String {
    match event {
        SessionEvent::Opened { .. } => "session opened".into(),
        SessionEvent::ExecutionBegun { .. } => "execution begun in the session".into(),
        SessionEvent::MessagePosted { .. } => "message from a person".into(),
        SessionEvent::AttachmentBegun { epoch, .. } => format!("attaching, for the {epoch}. time"),
        SessionEvent::Attached { agent_name, agent_version, .. } => {
            format!("{agent_name} {agent_version} is ready")
        }
        SessionEvent::TurnStarted { .. } => "prompt given to the coding agent".into(),
        SessionEvent::SegmentRecorded(_) => "text from the coding agent".into(),
        SessionEvent::MessageTruncated { .. } => "the rest of a message was lost".into(),
        SessionEvent::ToolCallRecorded { kind, .. } => format!("tool call: {kind}"),
        SessionEvent::PlanRecorded { .. } => "plan changed".into(),
        SessionEvent::UsageRecorded { .. } => "usage counted".into(),
        SessionEvent::PermissionAsked { .. } => "permission asked".into(),
        SessionEvent::PermissionAnswered { .. } => "permission answered by a person".into(),
        SessionEvent::PermissionWithdrawn { .. } => "permission request withdrawn".into(),
        SessionEvent::PermissionSettled { .. } => "permission answered by the policy".into(),
        SessionEvent::TurnEnded { end, .. } => match end {
            TurnEnd::Stopped { reason } => format!("turn ended: {reason}"),
            TurnEnd::Failed { reason } => format!("turn failed: {reason}"),
            TurnEnd::Broken { reason } => format!("coding agent broke down: {reason}"),
        },
        SessionEvent::AttachmentLost { reason, .. } => format!("coding agent lost: {reason}"),
        SessionEvent::ExecutionEnded { .. } => "execution ended in the session".into(),
    }
}
