//! AES-256-GCM with a random nonce.

use std::fmt;

use aes_gcm::{
    Aes256Gcm, Key, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};

use crate::random;

pub(crate) const NONCE_BYTES: usize = 12;

/// A key, ready for use. Never shown.
pub(crate) struct Cipher {
    cipher: Aes256Gcm,
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cipher").finish_non_exhaustive()
    }
}

impl Cipher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self { cipher: Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key)) }
    }

    /// Encrypts, bound to a label.
    pub(crate) fn seal(&self, text: &[u8], label: &[u8]) -> ([u8; NONCE_BYTES], Vec<u8>) {
        let nonce: [u8; NONCE_BYTES] = random::bytes();
        let payload = Payload { msg: text, aad: label };
        let sealed = self.cipher.encrypt(&Nonce::from(nonce), payload);
        (nonce, sealed.expect("memory is the only limit for texts below 64 GiB"))
    }

    /// Decrypts; None where key, label or ciphertext is another one.
    pub(crate) fn open(&self, nonce: &[u8], ciphertext: &[u8], label: &[u8]) -> Option<Vec<u8>> {
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
        let payload = Payload { msg: ciphertext, aad: label };
        self.cipher.decrypt(&Nonce::from(nonce), payload).ok()
    }
}
