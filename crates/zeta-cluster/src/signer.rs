//! What a node writes gets its envelope and signature here, and what it reads is judged here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use zeta_core::cluster::envelope::{
    Checked, Envelope, Gone, Refusal, SIGNATURE, Trust, judge_received, signature_text,
};
use zeta_core::cluster::mail::LEFT;
use zeta_core::cluster::next_counter;
use zeta_core::cluster::replay::Counter;
use zeta_core::cluster::subject::{Item, Subject, SubjectError};
use zeta_core::layout::RECORD_MAX;
use zeta_core::record::{Text, parse};
use zeta_os::error::Result;
use zeta_os::host;

use crate::api::Stored;
use crate::identity::Identity;
use crate::keys::{self, Keys};

/// The key of a card that holds the public key of its node.
pub const CARD_KEY: &str = "public_key";

/// A value as it was read from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// What it is about.
    pub subject: Subject,
    /// Its revision.
    pub sequence: u64,
    /// Its envelope.
    pub envelope: Envelope,
    /// How far it is to be believed.
    pub trust: Trust,
    /// The bytes of the record; empty if it is gone.
    pub body: Vec<u8>,
}

impl Received {
    /// The epoch and the counter of its writer.
    pub fn counter(&self) -> Counter {
        (self.envelope.epoch, self.envelope.counter)
    }
}

/// Why a value that was read is dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// Its subject is not one of this cluster.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// It breaks the rules of its subject.
    #[error(transparent)]
    Value(#[from] Refusal),
}

/// Signs for this node, and knows the keys of the others.
#[derive(Debug)]
pub struct Signer {
    /// This node.
    pub identity: Identity,
    keys: Mutex<Keys>,
    counter: AtomicU64,
}

impl Signer {
    /// A signer with the keys that stand beside the identity.
    ///
    /// # Errors
    /// The file of the keys is broken.
    pub fn new(identity: Identity) -> Result<Signer> {
        let keys = Mutex::new(Keys::load(&identity.dir)?);
        Ok(Signer { identity, keys, counter: AtomicU64::new(0) })
    }

    /// The keys that are known now.
    pub fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the next counter greater than one that this node has sent before.
    pub fn raise_counter(&self, sent: u64) {
        self.counter.fetch_max(sent, Ordering::Relaxed);
    }

    /// The next counter of this node.
    pub fn next_counter(&self) -> u64 {
        let wall_us = host::wall_us();
        let next = |last| Some(next_counter(last, wall_us));
        let last = self.counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        next_counter(last.unwrap_or_else(|last| last), wall_us)
    }

    /// The headers of a value that this node writes now, the signature among them.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn seal(
        &self,
        epoch: u64,
        counter: u64,
        subject: &Subject,
        body: &[u8],
        gone: Option<Gone>,
    ) -> Result<Vec<(String, String)>> {
        let envelope = Envelope::new(self.identity.node.clone(), epoch, counter, gone);
        self.seal_envelope(&envelope, subject, body)
    }

    /// As [`Signer::seal`], of a message that has so many ms of its life left.
    ///
    /// # Errors
    /// As [`Signer::seal`].
    pub fn seal_message(
        &self,
        epoch: u64,
        subject: &Subject,
        body: &[u8],
        left_ms: u64,
    ) -> Result<Vec<(String, String)>> {
        let node = self.identity.node.clone();
        let mut envelope = Envelope::new(node, epoch, self.next_counter(), None);
        envelope.extra.insert(LEFT.to_owned(), left_ms.to_string());
        self.seal_envelope(&envelope, subject, body)
    }

    fn seal_envelope(
        &self,
        envelope: &Envelope,
        subject: &Subject,
        body: &[u8],
    ) -> Result<Vec<(String, String)>> {
        let signed = envelope.signed_bytes(&self.identity.cluster, subject, body);
        let signature = signature_text(&self.identity.sign(&signed)?);
        let mut headers: Vec<_> = envelope.headers(subject).into_iter().collect();
        headers.push((SIGNATURE.to_owned(), signature));
        Ok(headers)
    }

    /// Judges a value that was read. The key of a node that is not known yet is taken from its
    /// card, if the card is signed with it.
    ///
    /// # Errors
    /// The file of the keys cannot be written.
    pub fn open(&self, stored: Stored) -> Result<std::result::Result<Received, Dropped>> {
        let subject = match Subject::parse(&stored.subject) {
            Ok(subject) => subject,
            Err(error) => return Ok(Err(error.into())),
        };
        let mut keys = self.keys();
        let (cluster, own) = (&self.identity.cluster, &self.identity.node);
        let mut signed_by = None;
        let headers = stored.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let judged =
            judge_received(cluster, &subject, headers, &stored.body, |node, bytes, sig| {
                if node == own {
                    return keys::check(&self.identity.public_key(), bytes, sig);
                }
                let checked = keys.check(node, bytes, sig);
                let is_card = matches!(subject, Subject::State { item: Item::Card, .. });
                if checked == Checked::NoKey && is_card {
                    signed_by = card_key(&stored.body)
                        .filter(|key| keys::check(key, bytes, sig) == Checked::Good);
                }
                checked
            });
        let (envelope, mut trust) = match judged {
            Ok(judged) => judged,
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        if let Some(key) = signed_by
            && keys.pin(&envelope.node, &key)?
        {
            trust = Trust::Verified;
        }
        let Stored { sequence, body, .. } = stored;
        Ok(Ok(Received { subject, sequence, envelope, trust, body }))
    }
}

/// The public key that a card holds.
pub(crate) fn card_key(body: &[u8]) -> Option<String> {
    match parse(body, RECORD_MAX) {
        Ok(Text::Own(fields)) => fields.text(CARD_KEY).map(|key| key.into_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use nkeys::KeyPair;
    use zeta_core::record::Fields;

    use super::*;

    /// A directory of its own, which goes with the value.
    struct Dir(PathBuf);

    impl Dir {
        fn new() -> Dir {
            let name = format!("zeta-signer-{}", host::random_hex().unwrap());
            Dir(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const CLUSTER: &str = "0123456789abcdef0123456789abcdef";

    fn signer(dir: &Dir, node: &str) -> Signer {
        let cluster = CLUSTER.parse().unwrap();
        Signer::new(Identity::bind(&dir.0, &node.parse().unwrap(), &cluster).unwrap()).unwrap()
    }

    fn sealed(signer: &Signer, subject: &str, body: &[u8]) -> Stored {
        let parsed = Subject::parse(subject).unwrap();
        let headers = signer.seal(3, signer.next_counter(), &parsed, body, None).unwrap();
        Stored { subject: subject.to_owned(), sequence: 7, headers, body: body.to_vec() }
    }

    fn card(signer: &Signer) -> Stored {
        let mut fields = Fields::new("card");
        fields.push_text(CARD_KEY, &signer.identity.public_key());
        let subject = format!("zeta1.state.{}.card.self", signer.identity.node);
        sealed(signer, &subject, fields.render().as_bytes())
    }

    fn trust(signer: &Signer, stored: &Stored) -> Trust {
        signer.open(stored.clone()).unwrap().unwrap().trust
    }

    #[test]
    fn a_key_counts_from_its_first_card_on_and_no_other_one_takes_its_place() {
        let (dir_a, dir_b, dir_c) = (Dir::new(), Dir::new(), Dir::new());
        let (a, b, other_b) = (signer(&dir_a, "a"), signer(&dir_b, "b"), signer(&dir_c, "b"));
        let marker = sealed(&b, "zeta1.state.b.marker.m", b"x");
        assert_eq!(trust(&a, &marker), Trust::UnknownKey);
        assert_eq!(trust(&a, &card(&b)), Trust::Verified);
        assert_eq!(trust(&a, &marker), Trust::Verified);
        assert_eq!(trust(&a, &card(&other_b)), Trust::Forged);
        // A process that begins later knows it, too.
        let later = signer(&dir_a, "a");
        assert_eq!(trust(&later, &marker), Trust::Verified);
        assert_eq!(trust(&later, &card(&other_b)), Trust::Forged);
        let mut changed = marker.clone();
        changed.body = b"y".to_vec();
        assert_eq!(trust(&a, &changed), Trust::Forged);
        let mut elsewhere = marker.clone();
        elsewhere.subject = "zeta1.state.b.marker.n".to_owned();
        assert_eq!(trust(&a, &elsewhere), Trust::Forged);
    }

    #[test]
    fn a_strict_file_takes_no_key_at_first_sight() {
        let (dir_a, dir_b) = (Dir::new(), Dir::new());
        let (_, b) = (signer(&dir_a, "a"), signer(&dir_b, "b"));
        let file = dir_a.0.join(keys::KEYS_FILE);
        std::fs::write(&file, "strict\n# nothing else\n").unwrap();
        assert_eq!(trust(&signer(&dir_a, "a"), &card(&b)), Trust::UnknownKey);
        let line = format!("strict\nb {}\n", b.identity.public_key());
        std::fs::write(&file, line).unwrap();
        assert_eq!(trust(&signer(&dir_a, "a"), &card(&b)), Trust::Verified);
        let [key, other] = [(); 2].map(|()| KeyPair::new_user().public_key());
        let (outside, twice) = (format!("../b {key}"), format!("b {key}\nb {other}"));
        for bad in ["b", "b U", "b SUAAA", &outside, &twice] {
            std::fs::write(&file, bad).unwrap();
            assert!(Keys::load(&dir_a.0).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_number_of_nodes_makes_the_file_of_the_keys_too_long_to_be_read() {
        let (dir_a, dir_b) = (Dir::new(), Dir::new());
        let (_, b) = (signer(&dir_a, "a"), signer(&dir_b, "b"));
        let file = dir_a.0.join(keys::KEYS_FILE);
        std::fs::write(&file, format!("#{}\n", "x".repeat((2 << 20) - 20))).unwrap();
        assert_eq!(trust(&signer(&dir_a, "a"), &card(&b)), Trust::UnknownKey);
        assert!(Keys::load(&dir_a.0).is_ok());
    }

    #[test]
    fn a_card_with_the_key_of_another_hand_pins_nothing() {
        let (dir_a, dir_b, dir_c) = (Dir::new(), Dir::new(), Dir::new());
        let (a, b, c) = (signer(&dir_a, "a"), signer(&dir_b, "b"), signer(&dir_c, "b"));
        // `c` signs a card that names the key of `b`.
        let forged = sealed(&c, "zeta1.state.b.card.self", &card(&b).body);
        assert_eq!(trust(&a, &forged), Trust::UnknownKey);
        assert_eq!(trust(&a, &card(&b)), Trust::Verified);
    }

    #[test]
    fn a_seed_that_others_can_read_or_that_is_another_s_is_refused() {
        let dir = Dir::new();
        let _ = signer(&dir, "a");
        let seed = dir.0.join(crate::identity::SEED_FILE);
        std::fs::set_permissions(&seed, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Identity::find(&dir.0).unwrap_err().to_string().contains("0640"));
        std::fs::remove_file(&seed).unwrap();
        assert!(Identity::find(&dir.0).unwrap_err().to_string().contains("missing"));
        crate::identity::find_or_make_key(&dir.0.join(crate::identity::SEED_FILE)).unwrap();
        assert!(Identity::find(&dir.0).unwrap_err().to_string().contains("not the key"));
    }

    #[test]
    fn one_directory_is_one_node_of_one_cluster() {
        let dir = Dir::new();
        let first = signer(&dir, "a");
        assert_eq!(signer(&dir, "a").identity.public_key(), first.identity.public_key());
        let cluster = CLUSTER.parse().unwrap();
        let other = Identity::bind(&dir.0, &"b".parse().unwrap(), &cluster).unwrap_err();
        assert!(other.to_string().contains("node a"), "{other}");
        let other = "f".repeat(32).parse().unwrap();
        let error = Identity::bind(&dir.0, &"a".parse().unwrap(), &other).unwrap_err();
        assert!(error.to_string().contains(CLUSTER), "{error}");
    }
}
