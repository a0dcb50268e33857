//! Zeta's own format: one stretched passphrase becomes two keys, one for a MAC over the header and
//! one for the payload, whose associated data is the header.
//!
//! The MAC is what ties the blob to its key: AES-GCM alone would let one payload open under several
//! keys. The MAC is checked first, so a wrong passphrase differs from a damaged payload.

use aes_gcm::aead::KeyInit;
use aes_gcm::{AeadInPlace, Aes256Gcm};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use zeta_core::creds::frame::v2::{Frame, HEADER_LEN, Header, MAC_LEN, pad, unpad};
use zeta_core::creds::frame::{Format, TAG_LEN};

use super::{KeyMaterial, Nonces, OpenError, Opened, SealError, Stretch};
use crate::cipher::kdf::{Key, NoMemory, Work};

/// The label of each key. Neither is the beginning of the other, and no label is used twice.
const HEADER_LABEL: &[u8] = b"zeta-creds-v2 header MAC";
const PAYLOAD_LABEL: &[u8] = b"zeta-creds-v2 payload";

pub fn seal(
    stretch: &mut Stretch,
    content: &[u8],
    lock: &KeyMaterial,
    log2_n: u8,
    generation: u64,
    fresh: &Nonces,
) -> Result<Vec<u8>, SealError> {
    let mut payload = pad(content).ok_or(SealError::TooLong)?;
    let payload_len = u32::try_from(payload.len()).map_err(|_| SealError::TooLong)?;
    let Nonces { salt, nonce } = fresh.clone();
    let header = Header { log2_n, salt, generation, nonce, payload_len };
    let bytes = header.render();
    let keys = Keys::derive(stretch, lock, &header)?;
    let mac: [u8; MAC_LEN] = keys.mac(&bytes).finalize().into_bytes().into();
    let sealed = Aes256Gcm::new((&*keys.payload).into()).encrypt_in_place_detached(
        (&nonce).into(),
        &bytes,
        &mut payload,
    );
    let tag: [u8; TAG_LEN] = sealed.map_err(|_| SealError::TooLong)?.into();
    Ok(Frame { header, mac: &mac, payload: &payload, tag: &tag }.render())
}

pub fn open(stretch: &mut Stretch, frame: &Frame, lock: &KeyMaterial) -> Result<Opened, OpenError> {
    let bytes = frame.header.render();
    let keys = Keys::derive(stretch, lock, &frame.header)?;
    let no_match = |_| OpenError::NoMatch(Format::Zcv2);
    keys.mac(&bytes).verify_slice(frame.mac).map_err(no_match)?;
    let mut padded = Zeroizing::new(frame.payload.to_vec());
    Aes256Gcm::new((&*keys.payload).into())
        .decrypt_in_place_detached(
            (&frame.header.nonce).into(),
            &bytes,
            &mut padded,
            frame.tag.into(),
        )
        .map_err(|_| OpenError::Damaged)?;
    let content = unpad(&padded).ok_or(OpenError::Damaged)?;
    Ok(Opened {
        content: Zeroizing::new(content.to_vec()),
        format: Format::Zcv2,
        generation: Some(frame.header.generation),
    })
}

struct Keys {
    header: Key,
    payload: Key,
}

impl Keys {
    fn derive(
        stretch: &mut Stretch,
        lock: &KeyMaterial,
        header: &Header,
    ) -> Result<Keys, NoMemory> {
        let passphrase = lock.passphrase.as_bytes();
        let work = Work { passphrase, salt: &header.salt, log2_n: header.log2_n };
        let stretched = stretch(&work)?;
        let hkdf = Hkdf::<Sha256>::new(Some(&header.salt), &stretched[..]);
        let expand = |label: &[u8]| {
            // Each part has its length before it, so no two pairs make the same bytes.
            let len = |part: &[u8]| (part.len() as u64).to_le_bytes();
            let binding = lock.binding.as_bytes();
            let info = [&len(label)[..], label, &len(binding), binding];
            let mut key = Key::default();
            let expanded = hkdf.expand_multi_info(&info, &mut key[..]);
            assert!(expanded.is_ok(), "32 bytes are never too many");
            key
        };
        Ok(Keys { header: expand(HEADER_LABEL), payload: expand(PAYLOAD_LABEL) })
    }

    fn mac(&self, header: &[u8; HEADER_LEN]) -> Hmac<Sha256> {
        // A key that is shorter than HMAC's block is filled up with zeros.
        let mut block = Zeroizing::new([0; 64]);
        block.iter_mut().zip(self.header.iter()).for_each(|(place, byte)| *place = *byte);
        let mut mac = <Hmac<Sha256> as Mac>::new((&*block).into());
        mac.update(header);
        mac
    }
}
