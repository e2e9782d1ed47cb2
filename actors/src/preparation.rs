//! Images that coding agents run in, made when they are first needed.
//!
//! Making one takes minutes. Whoever needs it waits and is told what is going on; the first one starts it, and all
//! others wait for the same. One that failed is tried again for the next who needs it.
//!
//! What makes an image is the business of whoever starts the system: see [`ImageMaker`].

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use domain::agent_protocol::CodingAgentKind;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::tasks::Tasks;

/// Takes a line about what is going on.
pub type Tell = Box<dyn Fn(&str) + Send + Sync>;

/// Makes the images of coding agents.
pub trait ImageMaker: fmt::Debug + Send + Sync + 'static {
    /// Makes an image, or finds it made. The error says what went wrong, for people.
    fn make(&self, coding_agent: CodingAgentKind, tell: Tell) -> BoxFuture<'_, Result<(), String>>;
}

/// Where every image is there, or comes from elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct NothingToMake;

impl ImageMaker for NothingToMake {
    fn make(&self, _: CodingAgentKind, _: Tell) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

/// How far an image has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Preparation {
    /// Nobody has asked for it in this life of the program.
    #[default]
    Unknown,
    /// What is going on, for people.
    UnderWay {
        told: String,
    },
    Ready,
    Failed {
        reason: String,
    },
}

/// All images, with how far they have come. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Preparations {
    maker: Arc<dyn ImageMaker>,
    states: Arc<Mutex<HashMap<CodingAgentKind, watch::Sender<Preparation>>>>,
    tasks: Tasks,
}

impl Preparations {
    pub(crate) fn new(maker: Arc<dyn ImageMaker>, tasks: &Tasks) -> Self {
        Self { maker, states: Arc::default(), tasks: tasks.clone() }
    }

    /// Has an image made, unless it is there or under way.
    pub fn begin(&self, coding_agent: CodingAgentKind) {
        let state = self.state(coding_agent);
        let is_begun = state.send_if_modified(|state| {
            let is_idle = matches!(state, Preparation::Unknown | Preparation::Failed { .. });
            if is_idle {
                let told = format!("the image of {} is looked for", coding_agent.name());
                *state = Preparation::UnderWay { told };
            }
            is_idle
        });
        if !is_begun {
            return;
        }
        let (maker, telling) = (Arc::clone(&self.maker), state.clone());
        self.tasks.start("coding agent's image", async move {
            let told = telling.clone();
            let tell: Tell = Box::new(move |line: &str| {
                let told_now = Preparation::UnderWay { told: line.trim().to_owned() };
                told.send_replace(told_now);
            });
            let made = maker.make(coding_agent, tell).await;
            if let Err(reason) = &made {
                tracing::error!(reason, "the image of a coding agent could not be made");
            }
            telling.send_replace(match made {
                Ok(()) => Preparation::Ready,
                Err(reason) => Preparation::Failed { reason },
            });
        });
    }

    /// Whether an image is being made at this moment.
    #[must_use]
    pub fn is_under_way(&self, coding_agent: CodingAgentKind) -> bool {
        matches!(&*self.state(coding_agent).borrow(), Preparation::UnderWay { .. })
    }

    /// Waits until there is something else to say about an image than `seen`. Who has seen nothing yet is
    /// the first to ask, for whom a failed one is made again.
    pub(crate) async fn news(
        &self,
        coding_agent: CodingAgentKind,
        seen: Option<&str>,
    ) -> Preparation {
        let mut state = self.state(coding_agent).subscribe();
        if seen.is_none() || *state.borrow() == Preparation::Unknown {
            self.begin(coding_agent);
        }
        let is_news = |state: &Preparation| match state {
            Preparation::Unknown => false,
            Preparation::UnderWay { told } => Some(told.as_str()) != seen,
            Preparation::Ready | Preparation::Failed { .. } => true,
        };
        match state.wait_for(is_news).await {
            Ok(state) => state.clone(),
            // It cannot end before `self`, which holds the sender.
            Err(_) => Preparation::Unknown,
        }
    }

    fn state(&self, coding_agent: CodingAgentKind) -> watch::Sender<Preparation> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.entry(coding_agent).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use domain::agent_protocol::CodingAgentKind::{self, ClaudeCode};
    use futures_util::future::BoxFuture;
    use tokio::sync::mpsc;

    use super::{ImageMaker, Preparation, Preparations, Tell};
    use crate::tasks::Tasks;

    /// Says and does what it is told through a channel.
    #[derive(Debug)]
    struct Scripted(Mutex<Option<mpsc::Receiver<Result<String, String>>>>);

    impl ImageMaker for Scripted {
        fn make(&self, _: CodingAgentKind, tell: Tell) -> BoxFuture<'_, Result<(), String>> {
            let script = self.0.lock().unwrap().take();
            Box::pin(async move {
                let Some(mut script) = script else { return Ok(()) };
                loop {
                    match script.recv().await {
                        Some(Ok(line)) => tell(&line),
                        Some(Err(reason)) => return Err(reason),
                        None => return Ok(()),
                    }
                }
            })
        }
    }

    #[tokio::test]
    async fn who_waits_is_told_what_goes_on_and_how_it_ends() {
        let (script, receiver) = mpsc::channel(4);
        let tasks = Tasks::new();
        let maker = Arc::new(Scripted(Mutex::new(Some(receiver))));
        let preparations = Preparations::new(maker, &tasks);
        let Preparation::UnderWay { told } = preparations.news(ClaudeCode, None).await else {
            panic!("it has just begun")
        };
        assert!(preparations.is_under_way(ClaudeCode));
        script.send(Ok("fetching".to_owned())).await.unwrap();
        let news = preparations.news(ClaudeCode, Some(&told)).await;
        assert_eq!(news, Preparation::UnderWay { told: "fetching".to_owned() });
        script.send(Err("no network".to_owned())).await.unwrap();
        let news = preparations.news(ClaudeCode, Some("fetching")).await;
        assert_eq!(news, Preparation::Failed { reason: "no network".to_owned() });
        // The next who needs it has it made again, which works now.
        let mut news = preparations.news(ClaudeCode, None).await;
        while let Preparation::UnderWay { told } = news {
            news = preparations.news(ClaudeCode, Some(&told)).await;
        }
        assert_eq!(news, Preparation::Ready);
        tasks.stop().await;
    }
}
