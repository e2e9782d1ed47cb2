//! One contract for every model that makes titles: the simulated one, and the real one against a server that
//! follows a script.

use std::{sync::Arc, time::Duration};

use actors::{
    clock::{Clock, SharedClock},
    model::{
        Model, ModelError,
        anthropic::AnthropicModel,
        simulated::{Reply, SimulatedModel},
        titles::{RETRIES_MAX, RETRY_PERIOD, TRY_PERIOD_MAX, Titles},
    },
};
use chrono::DateTime;
use domain::values::Timestamp;
use futures_util::{FutureExt as _, future::BoxFuture};
use tests::scripted_model::{self, ScriptedModel};
use tokio::sync::watch;

const KEY: &str = "sk-ant-of-the-test";
const TEXT: &str = "Please have a look at the pelicans, which fly in circles.";
const TRIES: usize = RETRIES_MAX as usize + 1;

/// Runs each of the named functions against both models.
macro_rules! on_both_models {
    ($($name:ident)+) => {
        mod simulated {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(&actors::model::simulated::SimulatedModel::default()).await;
                }
            )+
        }
        mod anthropic {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(&super::server().await).await;
                }
            )+
        }
    };
}

on_both_models! {
    what_the_model_says_is_the_title
    a_long_answer_is_cut_on_a_character
    a_busy_model_is_asked_again
    a_model_that_stays_busy_is_given_up
    a_model_that_hangs_is_left_alone
    a_model_that_refuses_is_not_asked_again
    an_answer_that_says_nothing_is_no_title
}

/// A model that says what it is told to say.
trait Scripted {
    fn model(&self) -> Arc<dyn Model>;
    fn script(&self, replies: &[Reply]);
    fn n_asked(&self) -> usize;
}

impl Scripted for SimulatedModel {
    fn model(&self) -> Arc<dyn Model> {
        Arc::new(self.clone())
    }

    fn script(&self, replies: &[Reply]) {
        Self::script(self, replies.to_vec());
    }

    fn n_asked(&self) -> usize {
        Self::n_asked(self)
    }
}

impl Scripted for ScriptedModel {
    fn model(&self) -> Arc<dyn Model> {
        Arc::new(AnthropicModel::new(&format!("http://{}/", self.address), "small-1"))
    }

    fn script(&self, replies: &[Reply]) {
        self.reply(replies.iter().map(|reply| match reply {
            Reply::Say(text) => scripted_model::Reply::Say(text.clone()),
            Reply::Busy => scripted_model::Reply::Fail(529),
            Reply::Refuse => scripted_model::Reply::Fail(401),
            Reply::Hang => scripted_model::Reply::Hang,
        }));
    }

    fn n_asked(&self) -> usize {
        self.seen().len()
    }
}

async fn server() -> ScriptedModel {
    ScriptedModel::start("127.0.0.1", Vec::new()).await.unwrap()
}

/// Pauses between tries take no time; the time of a try is over when the test says so.
#[derive(Clone, Debug)]
struct Patience {
    n_over: watch::Sender<usize>,
}

impl Clock for Patience {
    fn now(&self) -> Timestamp {
        DateTime::UNIX_EPOCH
    }

    fn pause(&self, period: Duration) -> BoxFuture<'static, ()> {
        if period == RETRY_PERIOD {
            return std::future::ready(()).boxed();
        }
        assert_eq!(period, TRY_PERIOD_MAX);
        let mut n_over = self.n_over.subscribe();
        let is_over = *n_over.borrow() + 1;
        async move { drop(n_over.wait_for(|n| *n >= is_over).await) }.boxed()
    }
}

/// Asks for a title; tells how many questions that took.
async fn title(model: &impl Scripted, replies: &[Reply]) -> (Result<String, ModelError>, usize) {
    model.script(replies);
    let before = model.n_asked();
    let patience = Patience { n_over: watch::channel(0).0 };
    let clock: SharedClock = Arc::new(patience.clone());
    let titles = Titles::new(Some(model.model()), &clock);
    let mut asking = Box::pin(titles.title(KEY, TEXT));
    for n in 0.. {
        let asked = async {
            while model.n_asked() <= before + n {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            made = &mut asking => return (made, model.n_asked() - before),
            () = asked => {}
        }
        if replies.get(n).or(replies.last()) == Some(&Reply::Hang) {
            patience.n_over.send_modify(|n_over| *n_over += 1);
        }
    }
    unreachable!("it counts for ever")
}

fn say(text: &str) -> Reply {
    Reply::Say(text.to_owned())
}

async fn what_the_model_says_is_the_title(model: &impl Scripted) {
    let (made, n_asked) = title(model, &[say(" “Calm the pelicans”\nThey fly in circles.")]).await;
    assert_eq!((made.unwrap().as_str(), n_asked), ("Calm the pelicans", 1));
}

async fn a_long_answer_is_cut_on_a_character(model: &impl Scripted) {
    let (made, _) = title(model, &[say(&"ü".repeat(300))]).await;
    assert_eq!(made.unwrap(), format!("{}…", "ü".repeat(99)));
}

async fn a_busy_model_is_asked_again(model: &impl Scripted) {
    for last_but in [&[Reply::Busy][..], &[Reply::Hang, Reply::Busy], &[say(""), Reply::Hang]] {
        let replies = [last_but, &[say("Calm the pelicans")]].concat();
        let (made, n_asked) = title(model, &replies).await;
        assert_eq!((made.unwrap().as_str(), n_asked), ("Calm the pelicans", replies.len()));
    }
}

async fn a_model_that_stays_busy_is_given_up(model: &impl Scripted) {
    let (made, n_asked) = title(model, &[Reply::Busy]).await;
    assert!(matches!(made, Err(ModelError::Busy { .. })), "{made:?}");
    assert_eq!(n_asked, TRIES);
}

async fn a_model_that_hangs_is_left_alone(model: &impl Scripted) {
    let (made, n_asked) = title(model, &[Reply::Hang]).await;
    assert!(matches!(made, Err(ModelError::Busy { .. })), "{made:?}");
    assert_eq!(n_asked, TRIES);
}

async fn a_model_that_refuses_is_not_asked_again(model: &impl Scripted) {
    let (made, n_asked) = title(model, &[Reply::Refuse]).await;
    assert!(matches!(made, Err(ModelError::Refused { .. })), "{made:?}");
    assert_eq!(n_asked, 1);
}

async fn an_answer_that_says_nothing_is_no_title(model: &impl Scripted) {
    let (made, n_asked) = title(model, &[say(" \n\"\"\n")]).await;
    assert!(matches!(made, Err(ModelError::Busy { .. })), "{made:?}");
    assert_eq!(n_asked, TRIES);
}

#[tokio::test]
async fn the_server_gets_key_model_and_text() {
    let server = server().await;
    title(&server, &[say("Calm the pelicans")]).await.0.unwrap();
    let seen = server.seen().remove(0);
    assert_eq!(seen.line, "POST /v1/messages");
    assert_eq!(seen.key.as_deref(), Some(KEY));
    assert_eq!((seen.model.as_deref(), seen.text.as_deref()), (Some("small-1"), Some(TEXT)));
}

/// What a server may send instead of an answer: whatever it is, it ends, and the error tells nothing personal.
#[tokio::test]
async fn a_server_that_misbehaves_is_an_error() {
    use scripted_model::Reply::{Break, Fail, Send};
    let server = server().await;
    let patience = Patience { n_over: watch::channel(0).0 };
    let clock: SharedClock = Arc::new(patience);
    let titles = Titles::new(Some(server.model()), &clock);
    let huge = [b"{\"content\": \"".to_vec(), vec![b'a'; 100_000], b"\"}".to_vec()].concat();
    let told = format!("{{\"error\": \"{TEXT}{KEY}\"}}").into_bytes();
    for (reply, is_asked_again) in [
        (Fail(307), false),
        (Fail(400), false),
        (Fail(404), false),
        (Fail(429), true),
        (Fail(503), true),
        (Break, true),
        (Send(b"nothing".to_vec()), true),
        (Send(b"[[]]".to_vec()), true),
        (Send(told), true),
        (Send(huge), false),
    ] {
        let before = server.seen().len();
        server.reply([reply.clone()]);
        let error = titles.title(KEY, TEXT).await.unwrap_err();
        let n_asked = server.seen().len() - before;
        assert_eq!(n_asked, if is_asked_again { TRIES } else { 1 }, "{error}");
        assert_eq!(matches!(error, ModelError::Busy { .. }), is_asked_again, "{error}");
        let told = format!("{error} {error:?}");
        assert!(!told.contains(KEY) && !told.contains("pelican"), "{told}");
    }
    let address = server.address;
    drop(server);
    let nobody: Arc<dyn Model> = Arc::new(AnthropicModel::new(&format!("http://{address}"), "1"));
    let error = Titles::new(Some(nobody), &clock).title(KEY, TEXT).await.unwrap_err();
    assert!(error.to_string().contains("cannot be reached"), "{error}");
}

#[test]
fn few_titles_are_made_at_once() {
    let model = SimulatedModel::default();
    model.script([Reply::Hang]);
    let clock: SharedClock = Arc::new(Patience { n_over: watch::channel(0).0 });
    let titles = Titles::new(Some(Arc::new(model.clone())), &clock);
    let mut asking: Vec<_> = (0..9).map(|_| Box::pin(titles.title(KEY, TEXT))).collect();
    for one in &mut asking {
        assert!(one.as_mut().now_or_never().is_none());
    }
    assert_eq!(model.n_asked(), 4);
    // One that is given up leaves its turn to the next.
    drop(asking.remove(0));
    assert!(asking[3].as_mut().now_or_never().is_none());
    assert_eq!(model.n_asked(), 5);
}
