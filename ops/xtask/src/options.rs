//! What was asked for on the command line.

use crate::command::{Failure, Outcome};

pub(crate) const USAGE: &str = "\
cargo xtask run [--yes] [FLAGS OF sam serve]   set up this machine, build, start SAM
cargo xtask test [--yes] [--only GATE]         set up this machine, run every check
cargo xtask verify [--only GATE]               run every check on a machine that is set up
cargo xtask bench [--yes] [NAME [FLAGS]]       measure, beside a baseline of the same run
cargo xtask nightly [--yes]                    the long tests

--yes installs missing system packages without asking.";

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Verb {
    Run,
    Test,
    Verify,
    Bench,
    Nightly,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) verb: Verb,
    pub(crate) yes: bool,
    /// The one check to run, of those in `verify.rs`.
    pub(crate) only: Option<String>,
    /// Handed on: to `sam serve`; or the name of a benchmark, and then to that.
    pub(crate) rest: Vec<String>,
}

impl Options {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Outcome<Self> {
        let verb = match words.next().as_deref() {
            Some("run") => Verb::Run,
            Some("test") => Verb::Test,
            Some("verify") => Verb::Verify,
            Some("bench") => Verb::Bench,
            Some("nightly") => Verb::Nightly,
            Some(other) => return Err(Failure(format!("there is no command {other:?}"))),
            None => return Err(Failure("say which command".to_owned())),
        };
        let mut options = Self { verb, yes: false, only: None, rest: Vec::new() };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--yes" => options.yes = true,
                "--" => options.rest.extend(words.by_ref()),
                "--only" => {
                    let gate = words.next();
                    options.only =
                        Some(gate.ok_or_else(|| Failure("--only needs a name".to_owned()))?);
                }
                _ => options.rest.push(word),
            }
        }
        let takes_rest = matches!(verb, Verb::Run | Verb::Bench);
        match options.rest.first() {
            Some(word) if !takes_rest => Err(Failure(format!("{word:?} is not understood here"))),
            _ => Ok(options),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Options, Verb};

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned)).map_err(|failure| failure.0)
    }

    #[test]
    fn flags_of_the_server_are_handed_on() {
        let options = parse("run --yes --listen 127.0.0.1:9000").unwrap();
        assert_eq!(options.verb, Verb::Run);
        assert!(options.yes);
        assert_eq!(options.rest, ["--listen", "127.0.0.1:9000"]);
        assert_eq!(parse("run --yes -- --listen 127.0.0.1:9000").unwrap(), options);
    }

    #[test]
    fn a_stray_word_is_refused() {
        assert!(parse("test fast").unwrap_err().contains("fast"));
        assert!(parse("deploy").unwrap_err().contains("deploy"));
        assert!(parse("").is_err());
    }
}
