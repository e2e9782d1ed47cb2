//! Proves to agents that it is their control plane that speaks: the installation's key signs a token for
//! each connection.

use std::time::Duration;

use domain::{
    agent_protocol::ControlClaims,
    ids::{InstallationId, NodeId},
    values::Timestamp,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};

use crate::signing::SigningKey;

const AUDIENCE: &str = "sam-agent";
const TOKEN_PERIOD: Duration = Duration::from_secs(24 * 3600);

/// Signs tokens.
#[derive(Clone)]
pub(crate) struct Signing {
    key: EncodingKey,
    installation: InstallationId,
}

impl Signing {
    pub(crate) fn new(key: &SigningKey, installation: InstallationId) -> Self {
        Self { key: EncodingKey::from_ed_der(&key.to_pkcs8()), installation }
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
    use crate::{random, signing::SigningKey};

    #[test]
    fn a_token_is_valid_under_the_public_key_that_was_written() {
        let installation = InstallationId(Uuid::from_u128(1));
        let key = SigningKey::from_seed(&random::bytes());
        let signing = Signing::new(&key, installation);
        let path = std::env::temp_dir().join(format!("sam-key-{}.pem", random::uuid()));
        key.public().write(&path).unwrap();
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
