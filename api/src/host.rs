//! Which part of SAM a request is for, told by its `Host` alone.

use actix_web::{dev::RequestHead, guard::GuardContext, http::header};

use crate::config::Hosts;

/// The parts of SAM that have a host of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// UI and browser API.
    App,
    /// Machine API: bearer tokens, no cookies.
    Machine,
    /// The bare address of this machine: people who type it mean the app.
    Bare,
}

/// A guard that lets only requests for one part through.
pub fn is(part: Part, hosts: Hosts) -> impl Fn(&GuardContext<'_>) -> bool {
    move |context| part_of(host(context.head()), &hosts) == Some(part)
}

fn host(head: &RequestHead) -> &str {
    let named = head.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    named.or_else(|| head.uri.authority().map(|authority| authority.as_str())).unwrap_or_default()
}

fn part_of(host: &str, hosts: &Hosts) -> Option<Part> {
    let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
    if name == hosts.app() {
        Some(Part::App)
    } else if name == hosts.api() {
        Some(Part::Machine)
    } else if ["localhost", "127.0.0.1", "[::1]"].contains(&name.as_str()) || name == hosts.domain {
        Some(Part::Bare)
    } else {
        None
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_names_its_part_and_strangers_name_none() {
        let hosts = Hosts { domain: "sam.localhost".into(), port: 8080, is_https: false };
        let part = |host| part_of(host, &hosts);
        assert_eq!(part("app.sam.localhost:8080"), Some(Part::App));
        assert_eq!(part("APP.sam.localhost."), Some(Part::App));
        assert_eq!(part("api.sam.localhost"), Some(Part::Machine));
        assert_eq!(part("localhost:8080"), Some(Part::Bare));
        assert_eq!(part("127.0.0.1:8080"), Some(Part::Bare));
        assert_eq!(part("[::1]:8080"), Some(Part::Bare));
        assert_eq!(part("sam.localhost:8080"), Some(Part::Bare));
        assert_eq!(part("ws-1.sam.localhost:8080"), None);
        assert_eq!(part("app.sam.localhost.evil.example"), None);
        assert_eq!(part(""), None);
    }
}
