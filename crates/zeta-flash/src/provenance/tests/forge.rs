//! An authority, a log and a signer that do what a test wants: each bundle is signed for real, and
//! differs from a good one in what the test says.

use std::str::FromStr as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::EncodePublicKey as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use x509_cert::certificate::{Certificate, TbsCertificate, Version};
use x509_cert::der::asn1::{BitString, Ia5String, ObjectIdentifier, OctetString, UtcTime};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{Decode as _, Encode};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};

use super::super::Bundle;

pub const IDENTITY: &str =
    "https://git.example.test/o/r/.github/workflows/build.yml@refs/heads/main";
pub const ISSUER: &str = "https://token.example.test";
/// 2026-05-27T12:00:00Z.
pub const NOON_S: u64 = 1_779_883_200;
const DAY_S: u64 = 86_400;
const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";

/// What a bundle says. [`Forge::default`] is a good one.
#[derive(Debug, Clone)]
pub struct Forge {
    pub names: Vec<GeneralName>,
    /// The issuers in the certificate: the last number of the kind, and the bytes.
    pub issuers: Vec<(&'static str, Vec<u8>)>,
    pub purposes: Vec<&'static str>,
    pub usage: Option<KeyUsages>,
    pub is_authority: Option<bool>,
    /// Until when certificates are valid.
    pub root_ends_s: u64,
    pub between_ends_s: u64,
    pub logged_s: u64,
    pub has_promise: bool,
    pub has_proof: bool,
    /// The seed of the key that signs the certificate between, if it is not the root's.
    pub between_is_signed_by: u8,
}

impl Default for Forge {
    fn default() -> Forge {
        let issuer = der(&x509_cert::der::asn1::Utf8StringRef::new(ISSUER).unwrap());
        Forge {
            names: vec![uri(IDENTITY)],
            issuers: vec![("8", issuer), ("1", ISSUER.into())],
            purposes: vec![CODE_SIGNING],
            usage: Some(KeyUsages::DigitalSignature),
            is_authority: None,
            root_ends_s: NOON_S + 3650 * DAY_S,
            between_ends_s: NOON_S + 3650 * DAY_S,
            logged_s: NOON_S + 60,
            has_promise: true,
            has_proof: true,
            between_is_signed_by: 1,
        }
    }
}

pub fn uri(text: &str) -> GeneralName {
    GeneralName::UniformResourceIdentifier(Ia5String::new(text).unwrap())
}

/// The bytes of an issuer, as newer programs write it.
pub fn text_of_der(text: &str) -> Vec<u8> {
    der(&x509_cert::der::asn1::Utf8StringRef::new(text).unwrap())
}

fn der(value: &impl Encode) -> Vec<u8> {
    value.to_der().unwrap()
}

/// A key that is the same in each run.
fn key(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

fn public(key: &SigningKey) -> Vec<u8> {
    key.verifying_key().to_public_key_der().unwrap().as_bytes().to_vec()
}

fn sign(key: &SigningKey, text: &[u8]) -> Vec<u8> {
    let signature: DerSignature = key.sign(text);
    signature.as_bytes().to_vec()
}

fn time(at_s: u64) -> Time {
    Time::UtcTime(UtcTime::from_unix_duration(Duration::from_secs(at_s)).unwrap())
}

fn name(text: &str) -> Name {
    if text.is_empty() { Name::default() } else { Name::from_str(text).unwrap() }
}

fn extension(kind: ObjectIdentifier, value: Vec<u8>) -> Extension {
    Extension { extn_id: kind, critical: false, extn_value: OctetString::new(value).unwrap() }
}

fn known<T: AssociatedOid + Encode>(value: &T) -> Extension {
    extension(T::OID, der(value))
}

/// A certificate of one key by another.
struct Issue<'a> {
    subject: (&'a str, &'a SigningKey),
    by: (&'a str, &'a SigningKey),
    valid_s: (u64, u64),
    extensions: Vec<Extension>,
}

impl Issue<'_> {
    fn der(self) -> Vec<u8> {
        let algorithm = AlgorithmIdentifierOwned {
            oid: ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"),
            parameters: None,
        };
        let tbs_certificate = TbsCertificate {
            version: Version::V3,
            serial_number: SerialNumber::from(7u8),
            signature: algorithm.clone(),
            issuer: name(self.by.0),
            validity: Validity {
                not_before: time(self.valid_s.0),
                not_after: time(self.valid_s.1),
            },
            subject: name(self.subject.0),
            subject_public_key_info: SubjectPublicKeyInfoOwned::from_der(&public(self.subject.1))
                .unwrap(),
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: Some(self.extensions),
        };
        let signature = sign(self.by.1, &der(&tbs_certificate));
        let signature = BitString::from_bytes(&signature).unwrap();
        der(&Certificate { tbs_certificate, signature_algorithm: algorithm, signature })
    }
}

fn authority() -> Vec<Extension> {
    let usage = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign);
    vec![known(&BasicConstraints { ca: true, path_len_constraint: None }), known(&usage)]
}

impl Forge {
    fn leaf(&self) -> Vec<u8> {
        let mut extensions = Vec::new();
        if !self.names.is_empty() {
            extensions.push(known(&SubjectAltName(self.names.clone())));
        }
        for (last, value) in &self.issuers {
            let kind = ObjectIdentifier::new(&format!("1.3.6.1.4.1.57264.1.{last}")).unwrap();
            extensions.push(extension(kind, value.clone()));
        }
        if !self.purposes.is_empty() {
            let purposes = self.purposes.iter().map(|text| ObjectIdentifier::new_unwrap(text));
            extensions.push(known(&ExtendedKeyUsage(purposes.collect())));
        }
        extensions.extend(self.usage.map(|usage| known(&KeyUsage(usage.into()))));
        let basic = |ca| known(&BasicConstraints { ca, path_len_constraint: None });
        extensions.extend(self.is_authority.map(basic));
        Issue {
            subject: ("", &key(3)),
            by: ("CN=between", &key(2)),
            valid_s: (NOON_S, NOON_S + 600),
            extensions,
        }
        .der()
    }

    fn roots(&self) -> Value {
        let root = Issue {
            subject: ("CN=root", &key(1)),
            by: ("CN=root", &key(1)),
            valid_s: (NOON_S - 100 * DAY_S, self.root_ends_s),
            extensions: authority(),
        };
        let between = Issue {
            subject: ("CN=between", &key(2)),
            by: ("CN=root", &key(self.between_is_signed_by)),
            valid_s: (NOON_S - 100 * DAY_S, self.between_ends_s),
            extensions: authority(),
        };
        let chain =
            [between.der(), root.der()].map(|der| json!({"rawBytes": STANDARD.encode(der)}));
        let valid = json!({"start": "2026-01-01T00:00:00Z"});
        let log = public(&key(4));
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [{
                "baseUrl": "https://log.example.test",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(&log),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": valid,
                },
                "logId": {"keyId": STANDARD.encode(Sha256::digest(&log))},
            }],
            "certificateAuthorities": [{
                "subject": {"organization": "own", "commonName": "root"},
                "uri": "https://ca.example.test",
                "certChain": {"certificates": chain},
                "validFor": valid,
            }],
            "ctlogs": [],
            "timestampAuthorities": [],
        })
    }

    /// The entry of a log with one entry.
    fn entry(&self, body: &[u8]) -> Value {
        let log = key(4);
        let id = Sha256::digest(public(&log));
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let body = STANDARD.encode(body);
        let logged_s = self.logged_s;
        let promise = format!(
            r#"{{"body":"{body}","integratedTime":{logged_s},"logID":"{hex}","logIndex":0}}"#
        );
        let leaf = [&[0], STANDARD.decode(&body).unwrap().as_slice()].concat();
        let root = STANDARD.encode(Sha256::digest(leaf));
        let note = format!("log.example.test\n1\n{root}\n");
        let signed = [&id[..4], &sign(&log, note.as_bytes())].concat();
        let envelope = format!("{note}\n\u{2014} log.example.test {}\n", STANDARD.encode(signed));
        let mut entry = json!({
            "logIndex": "0",
            "logId": {"keyId": STANDARD.encode(id)},
            "kindVersion": {"kind": "hashedrekord", "version": "0.0.1"},
            "integratedTime": logged_s.to_string(),
            "canonicalizedBody": body,
        });
        if self.has_promise {
            let signed = STANDARD.encode(sign(&log, promise.as_bytes()));
            entry["inclusionPromise"] = json!({"signedEntryTimestamp": signed});
        }
        if self.has_proof {
            entry["inclusionProof"] = json!({
                "logIndex": "0",
                "rootHash": root,
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": envelope},
            });
        }
        entry
    }

    /// Signs an image and logs it.
    pub fn json(&self, image: &[u8]) -> Value {
        let leaf = self.leaf();
        let digest = Sha256::digest(image);
        let signature = STANDARD.encode(sign(&key(3), image));
        let lines: Vec<String> = STANDARD
            .encode(&leaf)
            .as_bytes()
            .chunks(64)
            .map(|line| String::from_utf8(line.to_vec()).unwrap())
            .collect();
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            lines.join("\n")
        );
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let body = json!({
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": hex}},
                "signature": {
                    "content": signature,
                    "publicKey": {"content": STANDARD.encode(pem)},
                },
            },
        });
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": STANDARD.encode(leaf)},
                "tlogEntries": [self.entry(body.to_string().as_bytes())],
            },
            "messageSignature": {
                "messageDigest": {"algorithm": "SHA2_256", "digest": STANDARD.encode(digest)},
                "signature": signature,
            },
        })
    }

    /// The same, with the roots and who must have signed.
    pub fn bundle(&self, image: &[u8]) -> Bundle {
        Bundle {
            bundle: self.json(image).to_string().into_bytes(),
            identity: IDENTITY.to_owned(),
            issuer: ISSUER.to_owned(),
            roots: self.roots().to_string().into_bytes(),
        }
    }
}
