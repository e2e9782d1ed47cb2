//! System packages: which are missing, and installing them once a person agrees.
//!
//! Only Debian and Ubuntu are known; elsewhere the sentence says what to install by hand.

use std::io::{BufRead, IsTerminal, Write, stdin};
use std::path::Path;
use std::process::Command;

use crate::command::{Failure, Outcome, as_root, find, is_root, openly, quietly};
use crate::console::say;

/// A package, and how to see that it is not needed any more.
pub(crate) struct Need {
    pub(crate) package: &'static str,
    pub(crate) is_met: fn() -> bool,
}

pub(crate) const CONTAINER_ENGINE: Need = Need {
    package: "docker.io",
    is_met: || std::env::var_os("DOCKER_HOST").is_some() || find("dockerd").is_some(),
};
pub(crate) const FIREWALL: Need = Need {
    package: "iptables",
    is_met: || std::env::var_os("DOCKER_HOST").is_some() || find("iptables").is_some(),
};
pub(crate) const CONTAINER_CLIENT: Need =
    Need { package: "docker.io", is_met: || find("docker").is_some() };
pub(crate) const DEBOOTSTRAP: Need =
    Need { package: "debootstrap", is_met: || find("debootstrap").is_some() };
pub(crate) const GIT: Need = Need { package: "git", is_met: || find("git").is_some() };
pub(crate) const C_COMPILER: Need = Need { package: "gcc", is_met: || find("cc").is_some() };
pub(crate) const C_LIBRARY: Need =
    Need { package: "libc6-dev", is_met: || Path::new("/usr/include/stdio.h").exists() };
pub(crate) const CERTIFICATES: Need = Need {
    package: "ca-certificates",
    is_met: || Path::new("/etc/ssl/certs/ca-certificates.crt").exists(),
};
pub(crate) const NPM: Need =
    Need { package: "npm", is_met: || find("npm").is_some() || crate::node_js::is_private_there() };
pub(crate) const POSTGRES: Need =
    Need { package: "postgresql", is_met: || crate::postgres::programs().is_some() };
pub(crate) const CHROMIUM: Need =
    Need { package: "chromium", is_met: || find("chromium").is_some() };
pub(crate) const SHELLCHECK: Need =
    Need { package: "shellcheck", is_met: || find("shellcheck").is_some() };

/// Whether missing packages may be installed, and whether a person is asked first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    Given,
    AskAtTerminal,
    Refused,
}

pub(crate) fn install_missing(needs: &[&Need], consent: Consent) -> Outcome {
    let mut missing: Vec<&str> =
        needs.iter().filter(|need| !(need.is_met)()).map(|need| need.package).collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(", ");
    if consent == Consent::Refused {
        return Err(Failure(format!("missing: {list}; `cargo xtask test` installs them")));
    }
    if find("apt-get").is_none() {
        return Err(Failure(format!("missing: {list}; install them by hand (no apt-get here)")));
    }
    say(&format!("needs: {list}; installing with apt-get"));
    if consent == Consent::AskAtTerminal && stdin().is_terminal() && !is_agreed()? {
        return Err(Failure(format!("not installed: {list}")));
    }
    if !is_root() {
        // Asks for the password before progress is drawn over the question.
        openly("asking sudo", as_root("true")?.stdin(std::process::Stdio::inherit()))?;
    }
    // A third-party source that does not answer must not keep us from Debian's own packages.
    if let Err(failure) = quietly("reading the package lists", &mut apt_get(&["update"])?) {
        say(&format!("warning: {failure}"));
    }
    let mut words = vec!["install", "-y", "--no-install-recommends"];
    words.extend(&missing);
    quietly(&format!("installing {list}"), &mut apt_get(&words)?)
}

fn apt_get(words: &[&str]) -> Outcome<Command> {
    let mut command = as_root("env")?;
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]).args(words);
    Ok(command)
}

fn is_agreed() -> Outcome<bool> {
    eprint!("Go ahead? [Y/n] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::{Consent, Need, install_missing};

    #[test]
    fn nothing_missing_asks_for_nothing() {
        let there = Need { package: "there", is_met: || true };
        assert!(install_missing(&[&there], Consent::Refused).is_ok());
    }

    #[test]
    fn without_consent_the_missing_are_named_once() {
        let absent = Need { package: "absent", is_met: || false };
        let failure = install_missing(&[&absent, &absent], Consent::Refused).unwrap_err();
        assert_eq!(failure.0, "missing: absent; `cargo xtask test` installs them");
    }
}
