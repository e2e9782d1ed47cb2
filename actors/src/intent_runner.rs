//! Performs what processes want, and brings them the outcomes.
//!
//! Of one process the first intent without an outcome runs, and beside it those marked parallel. Each
//! runs under its key, so that running it again after a crash is harmless. What a process gave up is
//! dropped where it is. An outcome is the next stimulus; what that leads to is performed in turn.
//!
//! A command that was accepted is on disk, and is never given up: the next intent begins while its outcome
//! is still on its way to the process.
//!
//! Read next: `effects.rs` for what is done to the outside world.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::{
    event::Command,
    ids::{AccountId, CommandId, derived},
    process::{Action, Intent, IntentKey, Outcome, Process, Stimulus},
};
use projections::event_log::{Cause, Metadata, NewContent, Position, StreamId};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    aggregate_actor::Request,
    caller::Caller,
    clock::SharedClock,
    dispatcher::{DispatchError, Dispatcher, Streams},
    effects::{Effects, Performed},
    faults::Faults,
    lease::Tenure,
    process_actor::ProcessStream,
    tasks::Tasks,
    timer::Timer,
};

const RETRY_PERIOD: Duration = Duration::from_millis(500);

/// What a runner works with; the same for every kind of process.
#[derive(Clone)]
pub(crate) struct Tools {
    pub(crate) dispatcher: Dispatcher,
    pub(crate) effects: Effects,
    pub(crate) timer: Timer,
    pub(crate) clock: SharedClock,
    pub(crate) tenure: Tenure,
    pub(crate) tasks: Tasks,
    pub(crate) faults: Faults,
}

/// Performs the intents of one kind of process. Cheap to clone.
pub(crate) struct Runner<P: Process> {
    shared: Arc<Shared<P>>,
}

impl<P: Process> Clone for Runner<P> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<P: Process> {
    tools: Tools,
    streams: Streams<ProcessStream<P>>,
    instances: Mutex<HashMap<Uuid, Instance<P>>>,
}

/// A process that wants something.
struct Instance<P> {
    correlation: Uuid,
    /// The newest state that was looked at; older ones come too late.
    stream: Arc<ProcessStream<P>>,
    /// Dropping the sender gives the intent up.
    in_flight: HashMap<IntentKey, oneshot::Sender<()>>,
    /// Commands that were accepted, and whose outcome is on its way.
    told: BTreeSet<IntentKey>,
}

/// Because of what a stimulus is recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Occasion {
    Event { position: Position, correlation: Uuid },
    Intent { key: Uuid, correlation: Uuid },
}

impl<P: Process> Runner<P> {
    pub(crate) fn new(tools: Tools, streams: Streams<ProcessStream<P>>) -> Self {
        Self { shared: Arc::new(Shared { tools, streams, instances: Mutex::default() }) }
    }

    /// Has a process react, and starts what it wants then.
    pub(crate) async fn stimulate(
        &self,
        process: Uuid,
        stimulus: Stimulus,
        occasion: Occasion,
        contents: Vec<NewContent>,
    ) -> Result<(), DispatchError> {
        let (word, causation, correlation) = match occasion {
            Occasion::Event { position, correlation } => {
                (format!("saw {position}"), Cause::Event(position), correlation)
            }
            Occasion::Intent { key, correlation } => {
                (format!("settled {key}"), Cause::Command(key), correlation)
            }
        };
        let tools = &self.shared.tools;
        let metadata = Metadata {
            actor: format!("process/{}", P::TYPE),
            command: derived(process, &format!("{}/{word}", P::TYPE)),
            causation: Some(causation),
            correlation,
            at: tools.clock.now(),
        };
        let project = contents.first().map(|content| content.project);
        let epoch = tools.tenure.append;
        let request = Request { command: stimulus, metadata, contents, project, epoch };
        let answer = self.shared.streams.execute(process, request).await;
        self.note_damage(process, &answer).await;
        self.look(process, correlation, &answer?.state);
        Ok(())
    }

    /// Starts what a process wanted before.
    pub(crate) async fn take_up(
        &self,
        process: Uuid,
        correlation: Uuid,
    ) -> Result<(), DispatchError> {
        let answer = self.shared.streams.ask(process).await;
        self.note_damage(process, &answer).await;
        self.look(process, correlation, &answer?.state);
        Ok(())
    }

    async fn note_damage<T>(&self, process: Uuid, answer: &Result<T, DispatchError>) {
        let stream = StreamId::new(P::TYPE, process);
        self.shared.tools.dispatcher.damaged().note(&stream, answer).await;
    }

    /// Compares what a process wants with what is under way.
    fn look(&self, process: Uuid, correlation: Uuid, stream: &Arc<ProcessStream<P>>) {
        let unsettled = &stream.state.unsettled;
        let mut instances = self.instances();
        let instance = instances.entry(process).or_insert_with(|| Instance {
            correlation,
            stream: Arc::clone(stream),
            in_flight: HashMap::new(),
            told: BTreeSet::new(),
        });
        if stream.state.sequence < instance.stream.state.sequence {
            return;
        }
        instance.stream = Arc::clone(stream);
        instance.correlation = correlation;
        // Dropping what is not wanted any more gives it up.
        instance.in_flight.retain(|key, _| unsettled.contains_key(key));
        instance.told.retain(|key| unsettled.contains_key(key));
        if unsettled.is_empty() {
            instances.remove(&process);
            return;
        }
        crash_point::crash_point!("process.after_reacted");
        self.begin(process, instance);
    }

    /// Starts what may run and does not.
    fn begin(&self, process: Uuid, instance: &mut Instance<P>) {
        let unsettled = &instance.stream.state.unsettled;
        let is_next =
            |key: &IntentKey, intent: &Intent| !intent.is_parallel && !instance.told.contains(key);
        let first = unsettled.iter().find(|(key, intent)| is_next(key, intent));
        let first = first.map(|(key, _)| *key);
        for (key, intent) in unsettled {
            let may_run = intent.is_parallel || Some(*key) == first;
            if may_run && !instance.in_flight.contains_key(key) {
                let (give_up, given_up) = oneshot::channel();
                instance.in_flight.insert(*key, give_up);
                let work = Work { process, key: *key, correlation: instance.correlation };
                self.start(work, intent.clone(), given_up);
            }
        }
    }

    fn start(&self, work: Work, intent: Intent, given_up: oneshot::Receiver<()>) {
        let runner = self.clone();
        self.shared.tools.tasks.start("intent", async move {
            crash_point::crash_point!("intent.before_run");
            let performed = tokio::select! {
                _ = given_up => return,
                performed = runner.perform(&work, &intent.action) => performed,
            };
            let Some((stimulus, contents)) = performed else { return };
            let is_told = matches!(&intent.action, Action::Tell(_))
                && matches!(&stimulus, Stimulus::Settled { outcome: Outcome::Done, .. });
            let mut settling = std::pin::pin!(runner.settle(&work, stimulus, contents));
            // Polled once, the outcome is on its way before anything that comes after it.
            if futures_util::poll!(settling.as_mut()).is_pending() {
                if is_told {
                    runner.go_on(&work);
                }
                settling.await;
            }
        });
    }

    /// A command was accepted: what comes after it need not wait until its process knows.
    fn go_on(&self, work: &Work) {
        let mut instances = self.instances();
        let Some(instance) = instances.get_mut(&work.process) else { return };
        if instance.stream.state.unsettled.contains_key(&work.key) {
            instance.told.insert(work.key);
            self.begin(work.process, instance);
            crash_point::crash_point!("intent.before_outcome");
        }
    }

    /// Runs an intent to its end. None when the lease was lost: whoever has it now runs it again.
    async fn perform(&self, work: &Work, action: &Action) -> Option<(Stimulus, Vec<NewContent>)> {
        let tools = &self.shared.tools;
        let Performed { outcome, contents } = match action {
            Action::WakeAt { at, label } => {
                tools.timer.until(*at).await;
                crash_point::crash_point!("timer.before_woken");
                let (intent, label, at) = (work.key, label.clone(), tools.clock.now());
                return Some((Stimulus::Woken { intent, label, at }, Vec::new()));
            }
            Action::Tell(command) => {
                if tools.faults.runs_twice() {
                    self.tell(work, command).await?;
                }
                let outcome = self.tell(work, command).await?;
                crash_point::crash_point!("intent.after_tell");
                outcome.into()
            }
            Action::Run(effect) => {
                let key = work.uuid::<P>();
                if let Some(failed) = tools.faults.failure_of_next() {
                    failed.into()
                } else {
                    if tools.faults.runs_twice() {
                        tools.effects.perform(key, effect).await?;
                    }
                    let performed = tools.effects.perform(key, effect).await?;
                    crash_point::crash_point!("intent.after_effect");
                    performed
                }
            }
        };
        let (intent, at) = (work.key, tools.clock.now());
        Some((Stimulus::Settled { intent, outcome, at }, contents))
    }

    /// Sends a command until it has an answer; a refusal is one.
    async fn tell(&self, work: &Work, command: &Command) -> Option<Outcome> {
        let key = work.uuid::<P>();
        let caller = Caller {
            actor: format!("process/{}", P::TYPE),
            account: AccountId(Uuid::nil()),
            command: CommandId(key),
            correlation: work.correlation,
            causation: Some(Cause::Command(key)),
        };
        loop {
            let tools = &self.shared.tools;
            let (epoch, command) = (tools.tenure.append, command.clone());
            match tools.dispatcher.send_under(epoch, &caller, command, Vec::new()).await {
                Ok(_) => return Some(Outcome::Done),
                Err(DispatchError::Refused { code, reason }) => {
                    return Some(Outcome::Refused { code, reason });
                }
                Err(DispatchError::Fenced) => return None,
                Err(error) if error.is_temporary() => {
                    tracing::debug!(process = P::TYPE, %error, "a command is sent again");
                    tokio::time::sleep(RETRY_PERIOD).await;
                }
                Err(error) => {
                    let code = "failed".to_owned();
                    return Some(Outcome::Refused { code, reason: error.to_string() });
                }
            }
        }
    }

    /// Brings an outcome to its process, until the process has it.
    async fn settle(&self, work: &Work, stimulus: Stimulus, contents: Vec<NewContent>) {
        let occasion = Occasion::Intent { key: work.uuid::<P>(), correlation: work.correlation };
        let is_wake = matches!(stimulus, Stimulus::Woken { .. });
        loop {
            let sent = self.stimulate(work.process, stimulus.clone(), occasion, contents.clone());
            match sent.await {
                Ok(()) => break,
                Err(error) if error.is_temporary() => tokio::time::sleep(RETRY_PERIOD).await,
                Err(DispatchError::Fenced) => return,
                Err(error) => {
                    tracing::error!(
                        process = P::TYPE, id = %work.process, %error,
                        "an outcome cannot be recorded; the intent runs again at the next start"
                    );
                    return;
                }
            }
        }
        if is_wake {
            crash_point::crash_point!("timer.after_woken");
        } else {
            crash_point::crash_point!("intent.after_outcome");
        }
    }

    fn instances(&self) -> MutexGuard<'_, HashMap<Uuid, Instance<P>>> {
        self.shared.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An intent on its way to its outcome.
#[derive(Clone, Copy, Debug)]
struct Work {
    process: Uuid,
    key: IntentKey,
    correlation: Uuid,
}

impl Work {
    fn uuid<P: Process>(&self) -> Uuid {
        self.key.uuid(P::TYPE, self.process)
    }
}
