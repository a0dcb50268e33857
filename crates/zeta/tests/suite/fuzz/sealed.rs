//! A sealed blob with anything done to it: nothing but the blob itself opens, and the passphrase is
//! never stretched for a frame that is refused.

use zeta_core::creds::frame::{Format, v2};
use zeta_creds::cipher::kdf::{Key, NoMemory, Work};
use zeta_creds::cipher::{KeyMaterial, Nonces, OpenError, open_with, seal_with};

const LOCK: KeyMaterial =
    KeyMaterial { binding: "4F2A-91C7", passphrase: "correct horse battery staple" };
const CONTENT: &[u8] = b"{}";

/// Stands for the stretching, at no cost.
fn stretched(work: &Work) -> Result<Key, NoMemory> {
    let mut key = Key::new(*work.salt);
    key.iter_mut().zip(work.passphrase).for_each(|(byte, letter)| *byte ^= letter);
    Ok(key)
}

fn open(blob: &[u8]) -> bool {
    let mut calls = 0;
    let stretch = &mut |work: &Work| {
        calls += 1;
        assert!((v2::LOG2_N_MIN..=v2::LOG2_N_MAX).contains(&work.log2_n), "{}", work.log2_n);
        stretched(work)
    };
    match open_with(stretch, blob, &LOCK) {
        Ok(opened) => {
            assert_eq!((opened.content.as_slice(), calls), (CONTENT, 1));
            true
        }
        Err(OpenError::Frame(_) | OpenError::TooCostly(_)) => {
            assert_eq!(calls, 0, "work was done for a frame that is refused");
            false
        }
        Err(_) => {
            assert!(calls <= 1);
            false
        }
    }
}

/// The bytes as a blob, and as a list of changes (a place, what is turned there) to a good one.
pub fn sealed(bytes: &[u8]) {
    open(bytes);
    let fresh = Nonces { salt: [1; 32], nonce: [2; 12] };
    for format in [Format::Zcv1, Format::Zcv2] {
        let cost = (format, v2::LOG2_N_MIN);
        let good = seal_with(&mut stretched, cost, CONTENT, &LOCK, 7, &fresh).unwrap();
        let mut changed = good.clone();
        for change in bytes.chunks_exact(3).take(4) {
            let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % good.len();
            changed[at] ^= change[2];
        }
        if format == Format::Zcv1 {
            // Bytes that the original does not look at.
            changed[4..8].copy_from_slice(&good[4..8]);
        }
        assert_eq!(open(&changed), changed == good, "{changed:?}");
    }
}
