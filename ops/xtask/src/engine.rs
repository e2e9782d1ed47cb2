//! The container engine: started where it does not answer, and open to this user.

use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::command::{Failure, Outcome, answer_of, as_root, find, is_root, openly, script};
use crate::console::say;

const SOCKET: &str = "/var/run/docker.sock";
/// Says to ourselves that we already started again inside the group.
const IN_GROUP: &str = "SAM_XTASK_IN_DOCKER_GROUP";

pub(crate) fn ensure() -> Outcome {
    openly("starting the container engine", &mut script("setup/engine.sh"))?;
    if is_root() || std::env::var_os("DOCKER_HOST").is_some() || is_open() {
        return Ok(());
    }
    join_group()
}

fn is_open() -> bool {
    UnixStream::connect(SOCKET).is_ok()
}

/// Makes this user a member of the engine's group. A membership counts from the next sign-in on,
/// so this process starts itself once more inside the group.
fn join_group() -> Outcome {
    if std::env::var_os(IN_GROUP).is_some() {
        return Err(Failure(format!("{SOCKET} stays closed for this user: sign in again")));
    }
    let user = answer_of(Command::new("id").arg("-un"));
    let user = user.ok_or_else(|| Failure("cannot find out this user's name".to_owned()))?;
    let groups = answer_of(Command::new("id").args(["-Gn", &user])).unwrap_or_default();
    if !groups.split_whitespace().any(|group| group == "docker") {
        say(&format!("adding {user} to the group docker, so that SAM may use the engine"));
        openly("adding to the group", as_root("usermod")?.args(["-aG", "docker", &user]))?;
    }
    let sg = find("sg").ok_or_else(|| Failure("sign in again to enter group docker".to_owned()))?;
    let own = std::env::args().map(|word| quoted(&word)).collect::<Vec<_>>().join(" ");
    let error = Command::new(sg).args(["docker", "-c", &own]).env(IN_GROUP, "1").exec();
    Err(Failure(format!("cannot enter the group docker: {error}")))
}

/// A word that the shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("$HOME x"), "'$HOME x'");
    }
}
