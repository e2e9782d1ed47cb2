use super::{TITLE_MS_MAX, TitleIdea};
use crate::{
    event::Event,
    idea::{IdeaCommand, IdeaEvent},
    process::{
        Effect, Intent, Outcome,
        testing::{Given, given_process},
    },
    testing::{content, idea, long_content, noon, project},
    values::{ContentRef, after},
};

fn drafted(description: ContentRef) -> Event {
    (idea(1), IdeaEvent::Drafted { project: project(1), description }).into()
}

fn described(description: ContentRef) -> Event {
    (idea(1), IdeaEvent::Described { description }).into()
}

fn summarise(n: u128) -> Intent {
    let (idea, description, until) = (idea(1), long_content(n), after(noon(), TITLE_MS_MAX));
    Intent::run(Effect::SummariseTitle { idea, description, until })
}

fn record(n: u128) -> Intent {
    let command =
        IdeaCommand::RecordTitle { description: long_content(n).id, title: content(100 + n) };
    Intent::tell((idea(1), command))
}

fn titled(n: u128) -> Outcome {
    Outcome::Titled { title: content(100 + n) }
}

fn begun() -> Given<TitleIdea> {
    given_process().happened(drafted(long_content(1)))
}

#[test]
fn a_long_text_gets_the_title_that_a_model_makes_of_it() {
    begun()
        .then([summarise(1)])
        .settled(titled(1))
        .then([record(1)])
        .told()
        .then([])
        .then_unsettled([]);
}

#[test]
fn a_title_that_cannot_be_made_is_nobodys_concern() {
    begun().failed("the model is away").then([]).then_unsettled([]);
    // No model, or no key.
    begun().settled(Outcome::Done).then([]).then_unsettled([]);
}

#[test]
fn a_title_that_the_idea_refuses_is_forgotten() {
    let (code, reason) = ("rewritten".to_owned(), "it was rewritten".to_owned());
    let refused = Outcome::Refused { code, reason };
    begun().settled(titled(1)).settled(refused).then([]).then_unsettled([]);
}

#[test]
fn a_text_that_is_rewritten_meanwhile_takes_the_place_of_the_older_one() {
    begun()
        .happened(described(long_content(2)))
        .then([summarise(2)])
        .then_unsettled([summarise(2)])
        .settled(titled(2))
        .then([record(2)]);
    begun().happened(described(content(2))).then([]).then_unsettled([]);
}

#[test]
fn each_long_text_is_summarised_once() {
    begun()
        .settled(titled(1))
        .told()
        .happened(described(content(2)))
        .then([])
        .happened(described(long_content(3)))
        .then([summarise(3)])
        .then_unsettled([summarise(3)]);
}

#[test]
fn a_short_text_is_its_own_title() {
    given_process::<TitleIdea>().happened(described(content(1))).then([]).then_unsettled([]);
    let short: Event = drafted(content(1));
    assert_eq!(<TitleIdea as crate::process::Process>::route(&short), None);
}
