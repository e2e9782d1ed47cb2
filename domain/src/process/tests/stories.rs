//! The whole way from an idea to its end, with everything that can go wrong on it.

use uuid::Uuid;

use crate::{
    event::Command,
    execution::InputChoice,
    idea::{Idea, IdeaCommand, Stage},
    process::tests::{
        outside::{Outside, People, Titles, Turn},
        scheduler::{Fault, Plan, Scheduler},
    },
    testing::{idea, long_content, message, project, request, session},
};

/// What the coding agent and people do.
#[derive(Clone, Copy, Debug)]
struct Story {
    name: &'static str,
    turns: &'static [Turn],
    people: People,
    n_ideas: u128,
    ends: Stage,
}

const QUIET: People = People { choice: None, permits: false, follows_up: false };

const STORIES: [Story; 11] = [
    Story { name: "it works", turns: &[Turn::Ends], people: QUIET, n_ideas: 1, ends: Stage::Done },
    Story {
        name: "a follow-up",
        turns: &[Turn::Ends, Turn::Ends],
        people: People { follows_up: true, ..QUIET },
        n_ideas: 1,
        ends: Stage::Done,
    },
    Story {
        name: "a permission is given",
        turns: &[Turn::Asks],
        people: People { permits: true, ..QUIET },
        n_ideas: 1,
        ends: Stage::Done,
    },
    Story {
        name: "nobody gives the permission",
        turns: &[Turn::Asks],
        people: QUIET,
        n_ideas: 1,
        ends: Stage::Parked,
    },
    Story {
        name: "it fails",
        turns: &[Turn::Fails],
        people: QUIET,
        n_ideas: 1,
        ends: Stage::Parked,
    },
    Story {
        name: "it hangs",
        turns: &[Turn::Hangs],
        people: QUIET,
        n_ideas: 1,
        ends: Stage::Parked,
    },
    Story {
        name: "lost and continued",
        turns: &[Turn::IsLost, Turn::Ends],
        people: People { choice: Some(InputChoice::Continue), ..QUIET },
        n_ideas: 1,
        ends: Stage::Done,
    },
    Story {
        name: "lost for ever",
        turns: &[Turn::IsLost; 20],
        people: People { choice: Some(InputChoice::Continue), ..QUIET },
        n_ideas: 1,
        ends: Stage::Parked,
    },
    Story {
        name: "lost and put aside",
        turns: &[Turn::IsLost],
        people: People { choice: Some(InputChoice::Park), ..QUIET },
        n_ideas: 1,
        ends: Stage::Parked,
    },
    Story {
        name: "lost and nobody cares",
        turns: &[Turn::IsLost],
        people: QUIET,
        n_ideas: 1,
        ends: Stage::Parked,
    },
    Story {
        name: "three ideas for two slots",
        turns: &[],
        people: QUIET,
        n_ideas: 3,
        ends: Stage::Done,
    },
];

/// Plays a story to its end; everything that has to be true at the end is asserted there.
fn play(story: &Story, plan: Plan) -> Scheduler {
    play_with(story, Outside::new(story.turns, story.people), plan)
}

fn play_with(story: &Story, outside: Outside, plan: Plan) -> Scheduler {
    let mut scheduler = Scheduler::new(outside, plan);
    for n in 1..=story.n_ideas {
        let mut request = request(n);
        request.session = session(n);
        request.message = message(n);
        let (project, description) = (project(1), long_content(n));
        let submit = IdeaCommand::Submit { project, description, request };
        scheduler.world.send(Uuid::from_u128(100 + n), Command::from((idea(n), submit)));
    }
    scheduler.run();
    scheduler
}

/// Plays a story, and says which one and how when it goes wrong.
fn play_all(mut plans: impl FnMut(&Story, usize, usize) -> Vec<Plan>) {
    let mut n_plays = 0;
    for story in &STORIES {
        let plain = play(story, Plan::default());
        for plan in plans(story, plain.n_performed, plain.world.log.len()) {
            let described = format!("{} with {plan:?}", story.name);
            let played = std::panic::catch_unwind(|| play(story, plan.clone()));
            assert!(played.is_ok(), "{described}");
            n_plays += 1;
        }
    }
    assert!(n_plays > 0, "nothing was played");
}

#[test]
fn every_story_ends_as_it_should() {
    for story in &STORIES {
        let scheduler = play(story, Plan::default());
        for idea in scheduler.world.ideas.values() {
            let Idea::Known { stage, title, .. } = idea else { panic!("{}: no idea", story.name) };
            assert_eq!(*stage, story.ends, "{}", story.name);
            assert!(title.is_some(), "{}: its title was made", story.name);
        }
    }
}

#[test]
fn every_story_ends_in_the_same_way_without_titles() {
    for story in &STORIES {
        let mut outside = Outside::new(story.turns, story.people);
        outside.titles = Titles::Off;
        let scheduler = play_with(story, outside, Plan::default());
        for idea in scheduler.world.ideas.values() {
            assert!(
                matches!(idea, Idea::Known { stage, title: None, .. } if *stage == story.ends),
                "{}: {idea:?}",
                story.name
            );
        }
    }
}

#[test]
fn every_intent_may_be_executed_twice() {
    play_all(|_, _, _| {
        let always = |fault| Plan { always: Some(fault), ..Plan::default() };
        vec![always(Fault::Twice), always(Fault::AgainLater)]
    });
    play_all(|_, n_intents, _| {
        let faults = [Fault::Twice, Fault::AgainLater];
        let at = |fault| {
            (0..n_intents).map(move |n| Plan { fault: Some((n, fault)), ..Plan::default() })
        };
        faults.into_iter().flat_map(at).collect()
    });
}

#[test]
fn every_intent_may_fail_once() {
    play_all(|_, n_intents, _| {
        let faults = [Fault::Fails, Fault::FailsAfterwards];
        let at = |fault| {
            (0..n_intents).map(move |n| Plan { fault: Some((n, fault)), ..Plan::default() })
        };
        faults.into_iter().flat_map(at).collect()
    });
}

#[test]
fn a_cancel_may_come_after_every_event() {
    play_all(|_, _, n_events| {
        (1..=n_events).map(|at| Plan { cancel_at: Some(at), ..Plan::default() }).collect()
    });
}

#[test]
fn a_cancel_may_come_after_every_event_while_something_fails() {
    const EVERY: usize = 9;
    play_all(|_, n_intents, n_events| {
        let cancel = |at| {
            (0..n_intents).step_by(EVERY).map(move |n| {
                let fault = Some((n, Fault::ALL[(n + at) % Fault::ALL.len()]));
                Plan { fault, cancel_at: Some(at), ..Plan::default() }
            })
        };
        (1..=n_events).step_by(EVERY).flat_map(cancel).collect()
    });
}

#[test]
fn things_may_happen_in_any_order_and_go_wrong_at_random() {
    const SEEDS: u64 = 40;
    play_all(|_, _, n_events| {
        let plan = |seed: u64| Plan {
            seed: Some(seed),
            cancel_at: seed
                .is_multiple_of(3)
                .then(|| usize::try_from(seed).unwrap() * 7 % n_events.max(1) + 1),
            ..Plan::default()
        };
        (1..=SEEDS).map(plan).collect()
    });
}
