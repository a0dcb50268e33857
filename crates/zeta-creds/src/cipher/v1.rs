//! The original's format: scrypt, then HKDF over the stick's UUID and the result, then AES-256-GCM
//! without associated data.

use aes_gcm::aead::KeyInit;
use aes_gcm::{AeadInPlace, Aes256Gcm};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use zeta_core::creds::frame::v1::Frame;
use zeta_core::creds::frame::{Format, NONCE_LEN, PAYLOAD_MAX, SALT_LEN, TAG_LEN};

use super::{KeyMaterial, Nonces, OpenError, Opened, SealError, Stretch};
use crate::cipher::kdf::{Key, NoMemory, Work};

/// The only cost that the original knows; nothing in the blob says it.
const LOG2_N: u8 = 17;
const INFO: &[u8] = b"zeta-b0852-cred-persistence-v1";

pub fn seal(
    stretch: &mut Stretch,
    content: &[u8],
    lock: &KeyMaterial,
    fresh: &Nonces,
) -> Result<Vec<u8>, SealError> {
    if content.len() > PAYLOAD_MAX {
        return Err(SealError::TooLong);
    }
    let key = key(stretch, lock, &fresh.salt)?;
    let mut payload = Zeroizing::new(content.to_vec());
    let sealed = Aes256Gcm::new((&*key).into()).encrypt_in_place_detached(
        (&fresh.nonce).into(),
        b"",
        &mut payload,
    );
    let tag: [u8; TAG_LEN] = sealed.map_err(|_| SealError::TooLong)?.into();
    let (salt, nonce) = (&fresh.salt[..], &fresh.nonce[..]);
    Ok(Frame { reserved: [0; 4], salt, nonce, tag: &tag, payload: &payload }.render())
}

pub fn open(stretch: &mut Stretch, frame: &Frame, lock: &KeyMaterial) -> Result<Opened, OpenError> {
    let salt: &[u8; SALT_LEN] = frame.salt.try_into().map_err(|_| OpenError::Damaged)?;
    let nonce: &[u8; NONCE_LEN] = frame.nonce.try_into().map_err(|_| OpenError::Damaged)?;
    let tag: &[u8; TAG_LEN] = frame.tag.try_into().map_err(|_| OpenError::Damaged)?;
    let key = key(stretch, lock, salt)?;
    let mut content = Zeroizing::new(frame.payload.to_vec());
    Aes256Gcm::new((&*key).into())
        .decrypt_in_place_detached(nonce.into(), b"", &mut content, tag.into())
        .map_err(|_| OpenError::NoMatch(Format::Zcv1))?;
    Ok(Opened { content, format: Format::Zcv1, generation: None })
}

fn key(stretch: &mut Stretch, lock: &KeyMaterial, salt: &[u8; SALT_LEN]) -> Result<Key, NoMemory> {
    let passphrase = lock.passphrase.as_bytes();
    let stretched = stretch(&Work { passphrase, salt, log2_n: LOG2_N })?;
    let binding = lock.binding.as_bytes();
    let mut input = Zeroizing::new(Vec::with_capacity(binding.len() + 1 + stretched.len()));
    input.extend_from_slice(binding);
    input.push(b'|');
    input.extend_from_slice(&stretched[..]);
    let mut key = Key::default();
    let expanded = Hkdf::<Sha256>::new(Some(salt), &input).expand(INFO, &mut key[..]);
    assert!(expanded.is_ok(), "32 bytes are never too many");
    Ok(key)
}
