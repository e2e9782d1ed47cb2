//! What acts while the lease is held: processes with their effects, timers, sweeps, signed heads.
//!
//! Made once at the start; each tenure starts its tasks anew from it. Read next: `process_actor.rs`.

use std::sync::Arc;

use domain::{
    ids::{InstallationId, NodeId},
    node::Node,
    process::{
        Process, close_workspace::CloseWorkspace, erase_account::EraseAccount,
        erase_project::EraseProject, open_workspace::OpenWorkspace, retire_node::RetireNode,
        run_execution::RunExecution, title_idea::TitleIdea,
    },
};
use projections::{database::Database, event_log::EventLog};

use super::System;
use crate::{
    agent_link::AgentLinks,
    chat_search::ChatSearchIndexer,
    clock::SharedClock,
    dispatcher::{Dispatcher, Streams},
    effects::Effects,
    erasure::Erasure,
    faults::Faults,
    idea_titles::IdeaTitles,
    intent_runner::{Runner, Tools},
    lease::Tenure,
    model::titles::Titles,
    order::Orders,
    preparation::Preparations,
    process_actor::ProcessReader,
    provider::Provider,
    settings::Settings,
    signed_heads::HeadMaker,
    sweeper::Sweeping,
    tasks::Tasks,
    timer::Timer,
};

/// What processes are made from at the beginning of each tenure.
pub(super) struct Acting {
    installation: InstallationId,
    database: Database,
    log: EventLog,
    dispatcher: Dispatcher,
    sweeping: Sweeping,
    links: AgentLinks,
    orders: Orders,
    preparations: Preparations,
    provider: Arc<dyn Provider>,
    clock: SharedClock,
    faults: Faults,
    heads: HeadMaker,
    erasure: Erasure,
    titles: IdeaTitles,
    arbiter: actix::ArbiterHandle,
}

impl Acting {
    pub(super) fn new(
        system: &System,
        settings: Settings,
        provider: Arc<dyn Provider>,
        clock: SharedClock,
    ) -> Self {
        let orders = Orders {
            log: system.log.clone(),
            dispatcher: system.dispatcher.clone(),
            sealing: system.sealing.clone(),
            credentials: system.credentials.clone(),
            variables: system.variables.clone(),
            workspaces: settings.workspaces,
            anthropic_base_url: settings.anthropic_base_url,
        };
        let titles = IdeaTitles {
            titles: Titles::new(settings.title_model, &clock),
            dispatcher: system.dispatcher.clone(),
            sealing: system.sealing.clone(),
            credentials: system.credentials.clone(),
        };
        let heads = HeadMaker {
            database: system.database.clone(),
            log: system.log.clone(),
            key: system.signing.clone(),
            installation: system.installation,
            file: system.heads_file.clone(),
            settings: settings.heads,
            clock: Arc::clone(&clock),
            lease: None,
        };
        Self {
            installation: system.installation,
            database: system.database.clone(),
            log: system.log.clone(),
            dispatcher: system.dispatcher.clone(),
            sweeping: Sweeping::new(&system.database, &system.hub, system.projected()),
            links: system.links.clone(),
            orders,
            preparations: system.preparations.clone(),
            provider,
            clock,
            faults: settings.faults,
            heads,
            erasure: Erasure {
                eraser: system.eraser.clone(),
                dispatcher: system.dispatcher.clone(),
                sign_in: system.sign_in.clone(),
                projected: system.projected(),
            },
            titles,
            arbiter: system.actors.arbiter(),
        }
    }

    /// A node that is in use must have its agent back, whatever happened to it meanwhile.
    pub(super) async fn resume_node(&self, node: NodeId) {
        let state = match self.dispatcher.state::<Node>(node.0).await {
            Ok(state) => state,
            Err(error) => {
                tracing::error!(%error, "the state of this machine's node is not known");
                return;
            }
        };
        if let Node::Requested { spec } | Node::Running { spec, .. } | Node::Stopping { spec } =
            &*state
            && let Err(error) = self.provider.start(node, spec).await
        {
            tracing::error!(%error, "the agent of this machine cannot be started");
        }
    }

    /// Starts timers and processes.
    pub(super) fn act(&self, tenure: Tenure, tasks: &Tasks) {
        let timer = Timer::new(&self.clock);
        tasks.start("timer", timer.clone().run(Arc::clone(&self.clock)));
        let heads = HeadMaker { lease: tenure.append, ..self.heads.clone() };
        tasks.start_to_its_end("signed heads", heads.run(tasks.stopped()));
        let effects = Effects {
            installation: self.installation,
            log: self.log.clone(),
            dispatcher: self.dispatcher.clone(),
            links: self.links.clone(),
            orders: self.orders.clone(),
            provider: Arc::clone(&self.provider),
            erasure: self.erasure.clone(),
            titles: self.titles.clone(),
            preparations: self.preparations.clone(),
            timer: timer.clone(),
            clock: Arc::clone(&self.clock),
            tenure,
        };
        self.sweeping.start(&effects, tasks);
        let tools = Tools {
            dispatcher: self.dispatcher.clone(),
            effects,
            timer,
            clock: Arc::clone(&self.clock),
            tenure,
            tasks: tasks.clone(),
            faults: self.faults.clone(),
        };
        self.start_process::<RunExecution>(&tools);
        self.start_process::<OpenWorkspace>(&tools);
        self.start_process::<CloseWorkspace>(&tools);
        self.start_process::<RetireNode>(&tools);
        self.start_process::<EraseProject>(&tools);
        self.start_process::<EraseAccount>(&tools);
        self.start_process::<TitleIdea>(&tools);
        let (database, log) = (self.database.clone(), self.log.clone());
        let sealing = self.orders.sealing.clone();
        tools
            .tasks
            .keep("chat search", move || ChatSearchIndexer::new(&database, &log, &sealing).run());
    }

    fn start_process<P: Process>(&self, tools: &Tools) {
        // States of processes are short, and never kept.
        let streams = Streams::new(&self.log, &self.arbiter, u64::MAX);
        let runner = Runner::<P>::new(tools.clone(), streams);
        let (log, database) = (self.log.clone(), self.database.clone());
        tools
            .tasks
            .keep(P::TYPE, move || ProcessReader::new(&log, &database, runner.clone()).run());
    }
}
