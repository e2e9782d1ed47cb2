//! Has a model make a short title of an idea's long text, and tells the idea.
//!
//! One instance per idea, under the idea's id. Nothing waits for it: until there is a better title, and for
//! ever if none can be made, the idea is called by the beginning of its text. So it tries once, and a
//! failure asks for nothing. Whether there is a model at all is not known here: the effect answers
//! without a title then.

use uuid::Uuid;

use crate::{
    event::Event,
    idea::{IdeaCommand, IdeaEvent, title::TITLE_CHARS_MAX},
    process::{Effect, Intent, Outcome, Process, Reaction, Seen, What},
    values::{ContentRef, after},
};

/// How long after the text was written a title is still worth making.
pub const TITLE_MS_MAX: u64 = 24 * 60 * 60_000;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum TitleIdea {
    #[default]
    Idle,
    /// A title is being made.
    Summarising,
}

impl Process for TitleIdea {
    const TYPE: &'static str = "title_idea";
    const CONCERNED_BY: &'static [&'static str] = &["idea"];

    fn route(event: &Event) -> Option<Uuid> {
        match event {
            Event::Idea(idea, IdeaEvent::Drafted { description, .. }) if is_long(description) => {
                Some(idea.0)
            }
            // Also a short text: it may take the place of a long one.
            Event::Idea(idea, IdeaEvent::Described { .. }) => Some(idea.0),
            _ => None,
        }
    }

    fn react(&self, seen: Seen<'_>) -> Reaction {
        match seen.what {
            What::Happened(Event::Idea(
                idea,
                IdeaEvent::Drafted { description, .. } | IdeaEvent::Described { description },
            )) => {
                let effect = Effect::SummariseTitle {
                    idea: *idea,
                    description: description.clone(),
                    until: after(seen.at, TITLE_MS_MAX),
                };
                let is_wanted = is_long(description);
                let intents = is_wanted.then(|| Intent::run(effect)).into_iter().collect();
                Reaction { intents, abandons: *self == Self::Summarising }
            }
            What::Ran(
                Effect::SummariseTitle { idea, description, .. },
                Outcome::Titled { title },
            ) => {
                let (description, title) = (description.id, title.clone());
                [Intent::tell((*idea, IdeaCommand::RecordTitle { description, title }))].into()
            }
            // No title: it is called by the beginning of its text.
            _ => Reaction::none(),
        }
    }

    fn evolve(&mut self, seen: Seen<'_>, intents: &[Intent]) {
        *self = match seen.what {
            What::Happened(_) if intents.is_empty() => Self::Idle,
            What::Happened(_) => Self::Summarising,
            What::Ran(..) => Self::Idle,
            What::Told(..) | What::Woken(_) => return,
        };
    }
}

/// Whether a text may have more characters than a title: it has at most one of them for each byte.
fn is_long(text: &ContentRef) -> bool {
    usize::try_from(text.length).is_ok_and(|n_bytes| n_bytes > TITLE_CHARS_MAX)
}

#[cfg(test)]
mod tests;
