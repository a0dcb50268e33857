//! A signature by a key of one's own: ECDSA with P-256 over the SHA-256 of the image, in DER and
//! base64, as `cosign sign-blob --key` writes it and `cosign verify-blob --key` checks it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::PublicKey;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::pkcs8::{DecodePublicKey as _, EncodePublicKey as _};

use super::digest::{Digest, of};
use super::{Check, Refusal, Signer};

/// Checks a signature.
///
/// # Errors
/// The key or the signature is none, or it is not that of this key and image.
pub fn check(image: &Digest, key: &[u8], signature: &[u8]) -> Result<Signer, Refusal> {
    let (key, sha256) = public_key(key)?;
    let signature = decode(signature)?;
    VerifyingKey::from(key).verify_prehash(image.bytes(), &signature).map_err(|_| {
        Refusal::new(Check::Signature, "the signature is not that of this key for this image")
    })?;
    Ok(Signer::Key { sha256 })
}

/// Reads a public key, with its digest.
fn public_key(pem: &[u8]) -> Result<(PublicKey, String), Refusal> {
    let refused = |text| Refusal::new(Check::Key, text);
    let text = std::str::from_utf8(pem)
        .map_err(|_| refused("the public key is no PEM: it is not text"))?
        .trim_ascii();
    if text.contains("PRIVATE KEY") {
        return Err(refused("a private key was named in the place of the public one"));
    }
    let key = PublicKey::from_public_key_pem(text)
        .map_err(|_| refused("the public key is not one with the curve P-256, as PEM"))?;
    let der = key.to_public_key_der().map_err(|_| refused("the public key cannot be written"))?;
    let (digest, _) = of(der.as_bytes()).map_err(|_| refused("the public key has no digest"))?;
    Ok((key, digest.hex()))
}

/// Reads a signature. The ends of lines are no part of it, as cosign's own reader does.
fn decode(file: &[u8]) -> Result<Signature, Refusal> {
    let refused = |text| Refusal::new(Check::Format, text);
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let text: Vec<u8> = file.trim_ascii().iter().copied().filter(|byte| !is_end(byte)).collect();
    if text.is_empty() {
        return Err(refused("the file of the signature is empty"));
    }
    let der =
        STANDARD.decode(&text).map_err(|_| refused("the file of the signature is not base64"))?;
    Signature::from_der(&der)
        .map_err(|_| refused("the signature is none of ECDSA with the curve P-256, in DER"))
}
