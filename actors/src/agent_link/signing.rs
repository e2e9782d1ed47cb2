//! Proves to agents that it is their control plane that speaks.
//!
//! The installation's Ed25519 key signs a token for each connection. The private half is wrapped in
//! the database; the public half is a file that agents are given at their start.

use std::{fs, io, path::Path, time::Duration};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::{
    agent_protocol::ControlClaims,
    ids::{InstallationId, NodeId},
    values::Timestamp,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};

const AUDIENCE: &str = "sam-agent";
const TOKEN_PERIOD: Duration = Duration::from_secs(24 * 3600);
/// What comes before the 32 bytes of an Ed25519 key: PKCS #8 for the private, SPKI for the public one.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// The installation's signing key.
#[derive(Clone)]
pub(crate) struct Signing {
    key: EncodingKey,
    public: [u8; 32],
    installation: InstallationId,
}

impl Signing {
    pub(crate) fn new(seed: &[u8; 32], installation: InstallationId) -> io::Result<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(io::Error::other)?;
        let public = pair.public_key().as_ref().try_into().map_err(io::Error::other)?;
        let key = EncodingKey::from_ed_der(&[&PKCS8_PREFIX, &seed[..]].concat());
        Ok(Self { key, public, installation })
    }

    /// Writes the public half where agents find it.
    pub(crate) fn write_public_key(&self, path: &Path) -> io::Result<()> {
        let der = [&SPKI_PREFIX, &self.public[..]].concat();
        let body = STANDARD.encode(der);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
        if fs::read_to_string(path).is_ok_and(|written| written == pem) {
            return Ok(());
        }
        let draft = path.with_extension("new");
        fs::write(&draft, pem)?;
        fs::rename(draft, path)
    }

    /// A token for one connection to one node.
    pub(crate) fn token(
        &self,
        node: NodeId,
        epoch: u64,
        now: Timestamp,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let claims = ControlClaims {
            iss: format!("sam:{}", self.installation),
            aud: AUDIENCE.to_owned(),
            sub: node.to_string(),
            epoch,
            exp: (now + TOKEN_PERIOD).timestamp(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.key)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use domain::{
        agent_protocol::ControlClaims,
        ids::{InstallationId, NodeId},
    };
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    use uuid::Uuid;

    use super::{AUDIENCE, Signing};
    use crate::random;

    #[test]
    fn a_token_is_valid_under_the_public_key_that_was_written() {
        let installation = InstallationId(Uuid::from_u128(1));
        let signing = Signing::new(&random::bytes(), installation).unwrap();
        let path = std::env::temp_dir().join(format!("sam-key-{}.pem", random::uuid()));
        signing.write_public_key(&path).unwrap();
        let key = DecodingKey::from_ed_pem(&std::fs::read(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        let node = NodeId(Uuid::from_u128(2));
        let now = DateTime::from_timestamp(4_000_000_000, 0).unwrap();
        let token = signing.token(node, 7, now).unwrap();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[AUDIENCE]);
        let claims =
            jsonwebtoken::decode::<ControlClaims>(token, &key, &validation).unwrap().claims;
        assert_eq!((claims.sub, claims.epoch), (node.to_string(), 7));
        assert_eq!(claims.iss, format!("sam:{installation}"));
    }
}
