//! What starts each coding agent in a container, and what it needs in its environment.

use std::collections::BTreeMap;

use domain::agent_protocol::CodingAgentKind;

/// Where the agent puts the holder in every container.
pub const HOLDER_PATH: &str = "/.sam/holder";

/// How a coding agent reaches its model: the node's proxy, which knows the real key by this token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelProxy {
    /// As seen from the container; may carry the token in its path.
    pub base_url: String,
    pub token: String,
}

/// A command line and its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    pub argv: Vec<String>,
    pub env: BTreeMap<String, String>,
}

/// How to start a coding agent. `proxy` is none only for the demo, which needs no model.
pub fn launch(kind: CodingAgentKind, proxy: Option<&ModelProxy>) -> Launch {
    match kind {
        CodingAgentKind::Demo => Launch {
            argv: vec![HOLDER_PATH.to_string(), "demo-agent".to_string()],
            env: BTreeMap::new(),
        },
        CodingAgentKind::ClaudeCode => {
            Launch { argv: vec!["claude-agent-acp".to_string()], env: claude_environment(proxy) }
        }
    }
}

fn claude_environment(proxy: Option<&ModelProxy>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    if let Some(proxy) = proxy {
        env.insert("ANTHROPIC_BASE_URL".to_string(), proxy.base_url.clone());
        env.insert("ANTHROPIC_API_KEY".to_string(), proxy.token.clone());
    }
    // Telemetry and update checks would fail behind the proxy, slowly.
    env.insert("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC".to_string(), "1".to_string());
    env
}
