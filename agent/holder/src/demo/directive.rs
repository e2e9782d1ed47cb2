//! What a prompt can tell the demo agent, one directive a line.

use std::time::Duration;

/// One line that the demo agent understands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Directive {
    /// `write PATH: TEXT`; `\n` in the text begins a new line.
    Write { path: String, text: String },
    /// `run: COMMAND`
    Run { command: String },
    /// `say: TEXT`
    Say { text: String },
    /// `ask: QUESTION`
    Ask { question: String },
    /// `plan: A; B; C`
    Plan { entries: Vec<String> },
    /// `sleep: SECONDS`
    Sleep { period: Duration },
    /// `stream: COUNT PER_SECOND`; 0 a second is as fast as it goes.
    Stream { n_chunks: u32, per_second: f64 },
    /// `fail: REASON`
    Fail { reason: String },
    /// `hang`
    Hang,
}

/// The directives in a prompt, in order; other lines are skipped.
pub(super) fn directives(prompt: &str) -> Vec<Directive> {
    prompt.lines().filter_map(|line| directive(line.trim())).collect()
}

fn directive(line: &str) -> Option<Directive> {
    if line == "hang" {
        return Some(Directive::Hang);
    }
    let (verb, rest) = line.split_once(':')?;
    let text = rest.trim().to_string();
    if let Some(path) = verb.strip_prefix("write ") {
        let path = path.trim().to_string();
        return Some(Directive::Write { path, text: text.replace("\\n", "\n") });
    }
    match verb {
        "run" => Some(Directive::Run { command: text }),
        "say" => Some(Directive::Say { text }),
        "ask" => Some(Directive::Ask { question: text }),
        "plan" => {
            let entries = text.split(';').map(|entry| entry.trim().to_string());
            Some(Directive::Plan { entries: entries.filter(|entry| !entry.is_empty()).collect() })
        }
        "sleep" => {
            let period = Duration::try_from_secs_f64(text.parse().ok()?).ok()?;
            Some(Directive::Sleep { period })
        }
        "stream" => {
            let (n_chunks, per_second) = text.split_once(' ')?;
            let per_second: f64 = per_second.trim().parse().ok()?;
            let is_rate = per_second.is_finite() && per_second >= 0.0;
            is_rate.then_some(Directive::Stream { n_chunks: n_chunks.parse().ok()?, per_second })
        }
        "fail" => Some(Directive::Fail { reason: text }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Directive, directives};

    #[test]
    fn directives_are_read_one_a_line_and_other_text_is_not_one() {
        let prompt = "Please do this:\nwrite a/b.txt: one: two\\nthree\nplan: A; B;\n  hang\n\
                      stream: 10 2.5\nsleep: soon\nstream: 3 -1";
        let expected = vec![
            Directive::Write { path: "a/b.txt".to_string(), text: "one: two\nthree".to_string() },
            Directive::Plan { entries: vec!["A".to_string(), "B".to_string()] },
            Directive::Hang,
            Directive::Stream { n_chunks: 10, per_second: 2.5 },
        ];
        assert_eq!(directives(prompt), expected);
        assert_eq!(directives("Add a changelog\nwith hang gliders"), Vec::new());
    }
}
