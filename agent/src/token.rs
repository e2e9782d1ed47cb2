//! Checks what the control plane may ask of this node.
//!
//! The agent dials out, so it must not take orders from whoever answers: the answer carries a JWT
//! signed with the installation's Ed25519 key, whose public half came with the node's set-up. The
//! token names the node, so that an answer meant for one machine is worth nothing on another.

use std::path::Path;

use domain::{
    agent_protocol::ControlClaims,
    ids::{InstallationId, NodeId},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::Jwk};

/// The audience of tokens that agents accept.
pub const AUDIENCE: &str = "sam-agent";

/// Why a welcome is not believed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the control plane's key file {path} cannot be read: {source}")]
    Unreadable { path: String, source: std::io::Error },
    #[error("the control plane's key file {path} holds no Ed25519 public key")]
    NoKey { path: String },
    #[error("the control plane's token is not valid: {0}")]
    Invalid(#[from] jsonwebtoken::errors::Error),
}

/// Whom this agent obeys.
#[derive(Clone)]
pub struct ControlKey {
    key: DecodingKey,
    validation: Validation,
}

impl ControlKey {
    /// Reads the public key of `installation`: a JWK (JSON) or PEM.
    pub fn read(
        path: &Path,
        installation: InstallationId,
        node: NodeId,
    ) -> Result<Self, TokenError> {
        let shown = || path.display().to_string();
        let bytes = std::fs::read(path)
            .map_err(|source| TokenError::Unreadable { path: shown(), source })?;
        Self::parse(&bytes, installation, node).ok_or_else(|| TokenError::NoKey { path: shown() })
    }

    /// As [`ControlKey::read`], from the file's content.
    pub fn parse(bytes: &[u8], installation: InstallationId, node: NodeId) -> Option<Self> {
        let key = match serde_json::from_slice::<Jwk>(bytes) {
            Ok(jwk) => DecodingKey::from_jwk(&jwk).ok()?,
            Err(_) => DecodingKey::from_ed_pem(bytes).ok()?,
        };
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[format!("sam:{installation}")]);
        validation.sub = Some(node.to_string());
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        Some(Self { key, validation })
    }

    /// The claims, if the token is signed by our installation, for this node, and not expired.
    pub fn verify(&self, token: &str) -> Result<ControlClaims, TokenError> {
        let verified =
            jsonwebtoken::decode::<ControlClaims>(token.as_bytes(), &self.key, &self.validation)?;
        Ok(verified.claims)
    }
}
