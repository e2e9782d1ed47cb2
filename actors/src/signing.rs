//! The installation's Ed25519 key: what it signs, nobody else can have said.
//!
//! The private half is wrapped by the master key in the database ([`crate::sealing`]); the public half is a
//! PEM file in the data directory. Each kind of statement has a purpose, which is signed along, so that a
//! signature under one is never taken for another's, nor for one of the tokens that agents are shown.

use std::{fmt, fs, io, path::Path, sync::Arc};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The name of the public half in the data directory.
pub const PUBLIC_KEY_FILE: &str = "control.pem";

/// How many bytes a signature has.
pub const SIGNATURE_BYTES: usize = 64;

/// What comes before the 32 bytes of an Ed25519 key: PKCS #8 for the private, SPKI for the public one.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";

/// A signature.
pub type Signature = [u8; SIGNATURE_BYTES];

/// The private half, ready for use. Never shown. Cheap to clone.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<Ed25519KeyPair>,
    seed: [u8; 32],
    public: PublicKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// The key of a seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed has 32 bytes");
        let public = pair.public_key().as_ref().try_into().expect("a public key has 32 bytes");
        Self { pair: Arc::new(pair), seed: *seed, public: PublicKey(public) }
    }

    /// Signs a message under a purpose. The same message gives the same signature.
    #[must_use]
    pub fn sign(&self, purpose: &str, message: &[u8]) -> Signature {
        let signature = self.pair.sign(&statement(purpose, message));
        signature.as_ref().try_into().expect("a signature has 64 bytes")
    }

    /// The half that everybody may know.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    pub(crate) fn to_pkcs8(&self) -> Vec<u8> {
        [&PKCS8_PREFIX, &self.seed[..]].concat()
    }
}

/// The public half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Tells whether the message was signed under this purpose by the private half.
    #[must_use]
    pub fn verify(&self, purpose: &str, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.0);
        key.verify(&statement(purpose, message), signature).is_ok()
    }

    /// Its 32 bytes as base64.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// As PEM (SPKI), which other programs read too.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let der = STANDARD.encode([&SPKI_PREFIX, &self.0[..]].concat());
        format!("{PEM_BEGIN}\n{der}\n{PEM_END}\n")
    }

    /// Reads PEM, or the base64 of the 32 bytes; None where it is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes = match text.strip_prefix(PEM_BEGIN).and_then(|rest| rest.strip_suffix(PEM_END)) {
            Some(body) => {
                let body: String = body.split_whitespace().collect();
                STANDARD.decode(body).ok()?.strip_prefix(&SPKI_PREFIX)?.to_vec()
            }
            None => STANDARD.decode(text).ok()?,
        };
        bytes.try_into().ok().map(Self)
    }

    /// Writes it where agents and auditors find it; a crash leaves the old file or the new one.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let pem = self.to_pem();
        if fs::read_to_string(path).is_ok_and(|written| written == pem) {
            return Ok(());
        }
        let draft = path.with_extension("new");
        fs::write(&draft, pem)?;
        fs::rename(draft, path)
    }
}

/// Tokens are signed over base64 and dots, so a text with a NUL is never one of them.
fn statement(purpose: &str, message: &[u8]) -> Vec<u8> {
    [b"sam ", purpose.as_bytes(), b"\0", message].concat()
}

#[cfg(test)]
mod tests {
    use super::{PublicKey, SigningKey};

    #[test]
    fn a_signature_is_good_for_its_message_purpose_and_key_only() {
        let key = SigningKey::from_seed(&[7; 32]);
        let signature = key.sign("head", b"message");
        assert!(key.public().verify("head", b"message", &signature));
        assert!(!key.public().verify("head", b"massage", &signature));
        assert!(!key.public().verify("erasure", b"message", &signature));
        assert!(!key.public().verify("head", b"message", &signature[..63]));
        assert!(!SigningKey::from_seed(&[8; 32]).public().verify("head", b"message", &signature));
    }

    #[test]
    fn a_public_key_is_read_as_it_was_written() {
        let key = SigningKey::from_seed(&[7; 32]).public();
        assert_eq!(PublicKey::parse(&key.to_pem()), Some(key));
        assert_eq!(PublicKey::parse(&format!(" {}\n", key.to_base64())), Some(key));
        assert_eq!(PublicKey::parse("-----BEGIN PUBLIC KEY-----"), None);
        assert_eq!(PublicKey::parse("c2hvcnQ="), None);
    }
}
