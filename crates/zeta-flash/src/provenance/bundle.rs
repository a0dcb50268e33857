//! A bundle of sigstore, version 0.3, checked without a network: sigstore's crate does it, and here
//! stand the rules that are stricter.

use serde_json::Value;
use sigstore_verify::bundle::Error as Shape;
use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::{Bundle as Parsed, KindVersion, Sha256Hash};
use sigstore_verify::{
    CertificateError, Error, IdentityMatcher, TransparencyLogError, VerificationPolicy,
    VerificationResult, Verifier,
};

use super::digest::Digest;
use super::{Bundle, Check, Refusal, Signer, cryptography, leaf, strict_json};

const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// Checks a bundle.
///
/// # Errors
/// The first check that fails.
pub fn check(image: &Digest, asked: &Bundle) -> Result<Signer, Refusal> {
    cryptography::install();
    let format = |error: &dyn std::fmt::Display| {
        Refusal::new(Check::Format, format!("the bundle cannot be read: {error}"))
    };
    let json = strict_json::parse(&asked.bundle).map_err(|error| format(&error))?;
    check_shape(&json)?;
    let bundle: Parsed = serde_json::from_slice(&asked.bundle).map_err(|error| format(&error))?;
    let Some(certificate) = bundle.signing_certificate() else {
        return Err(Refusal::new(Check::Identity, "the bundle has no certificate"));
    };
    let certificate = certificate.as_bytes();
    leaf::check(certificate, &asked.identity, &asked.issuer)?;

    let (roots, verifier) = read_roots(&asked.roots)?;
    check_entries(&bundle, &roots)?;
    let mut policy = VerificationPolicy::new(
        IdentityMatcher::Uri(asked.identity.clone()),
        asked.issuer.as_str(),
    );
    if roots.ctlogs.is_empty() {
        policy = policy.skip_sct();
    }
    let verified = verifier
        .verify(Sha256Hash::new(*image.bytes()), &bundle, &policy)
        .map_err(|error| refusal(&error, certificate, &roots))?;
    let signed_s = check_chain(certificate, &roots, &verified)?;
    Ok(Signer::Identity {
        identity: asked.identity.clone(),
        issuer: asked.issuer.clone(),
        signed_s,
    })
}

/// Refuses a bundle of another version, and one that does not say all that this version has.
fn check_shape(json: &Value) -> Result<(), Refusal> {
    let refused = |text: &str| Err(Refusal::new(Check::Format, text));
    match json.get("mediaType").map(Value::as_str) {
        Some(Some(MEDIA_TYPE)) => {}
        Some(Some(other)) => {
            let text =
                format!("the bundle is of the kind {other:?}, and only {MEDIA_TYPE:?} is known");
            return refused(&text);
        }
        _ => return refused("the bundle does not say of which kind it is"),
    }
    // null stands for what is not there.
    let has = |place| json.pointer(place).is_some_and(|value| !value.is_null());
    if has("/verificationMaterial/publicKey") {
        let text = "the bundle has a key and no certificate, so it does not say who signed";
        return Err(Refusal::new(Check::Identity, text));
    }
    if has("/dsseEnvelope") {
        return refused("the bundle is a statement about an image, and no signature of one");
    }
    let Some(digest) = json.pointer("/messageSignature/messageDigest") else {
        return refused("the bundle does not say of which image it is");
    };
    match digest.get("algorithm").and_then(Value::as_str) {
        Some("SHA2_256") => Ok(()),
        _ => refused("the bundle has another digest of the image than SHA2_256"),
    }
}

fn read_roots(json: &[u8]) -> Result<(TrustedRoot, Verifier), Refusal> {
    let refused = |error: &dyn std::fmt::Display| {
        Refusal::new(Check::Roots, format!("the trusted roots cannot be read: {error}"))
    };
    strict_json::parse(json).map_err(|error| refused(&error))?;
    let roots: TrustedRoot = serde_json::from_slice(json).map_err(|error| refused(&error))?;
    let verifier = Verifier::new(&roots).map_err(|error| refused(&error))?;
    Ok((roots, verifier))
}

/// Refuses an entry that contradicts itself. In a log of the second version nothing else reads the
/// name of the log, nor what a proof says beside its signed checkpoint.
fn check_entries(bundle: &Parsed, roots: &TrustedRoot) -> Result<(), Refusal> {
    let refused = |text: &str| Err(Refusal::new(Check::Log, text));
    for entry in &bundle.verification_material.tlog_entries {
        if !roots.tlogs.iter().any(|log| log.log_id == entry.log_id) {
            return refused("the bundle names a log that is not among the trusted ones");
        }
        let Some(proof) = &entry.inclusion_proof else {
            return refused("the bundle does not prove that its entry is in the log");
        };
        let is_second = entry.kind_version == KindVersion::HashedRekordV002;
        let is_same = proof.checkpoint.checkpoint().is_some_and(|signed| {
            *signed.root_hash() == proof.root_hash && signed.tree_size() == proof.tree_size
        });
        if !is_same || is_second && proof.log_index != entry.log_index {
            return refused("the proof of the log says something else than its signed checkpoint");
        }
    }
    Ok(())
}

/// Checks the chain up to its root, at each proven time. Returns the first of them.
fn check_chain(
    certificate: &[u8],
    roots: &TrustedRoot,
    verified: &VerificationResult,
) -> Result<i64, Refusal> {
    let refused = |text| Refusal::new(Check::Chain, text);
    let is_whole = verified.certificate_verified()
        && verified.tlog_verified()
        && verified.identity_policy_checked();
    let times = verified.verified_timestamps();
    let first = times.iter().map(|time| time.as_second()).min();
    let Some(first) = first.filter(|_| is_whole) else {
        return Err(refused("not all of the bundle was checked"));
    };
    for time in times {
        let at_s = u64::try_from(time.as_second()).unwrap_or_default();
        let authorities = roots.certificate_authorities.iter();
        let then = authorities
            .filter(|authority| authority.valid_for.is_none_or(|range| range.contains(*time)));
        if !leaf::has_chain(certificate, then, at_s) {
            return Err(refused(
                "a certificate between the signer and the root was not valid then",
            ));
        }
    }
    Ok(first)
}

/// The refusal that an error of sigstore's crate is.
fn refusal(error: &Error, certificate: &[u8], roots: &TrustedRoot) -> Refusal {
    let check = match error {
        Error::IdentityMismatch { .. } => Check::Identity,
        Error::IssuerMismatch { .. } => Check::Issuer,
        Error::SignatureInvalid(_) => Check::Signature,
        Error::ArtifactMismatch(_) => Check::Digest,
        Error::Certificate(CertificateError::Malformed(_)) => Check::Format,
        Error::Certificate(
            CertificateError::NotYetValid { .. } | CertificateError::Expired { .. },
        )
        | Error::Timestamp(_)
        | Error::TransparencyLog(TransparencyLogError::IntegratedTime(_)) => Check::Time,
        // The kind has no word for a certificate that was not valid at that time.
        Error::Certificate(CertificateError::ChainInvalid(_)) => {
            let begin_s = leaf::begins_s(certificate).unwrap_or_default();
            match leaf::has_chain(certificate, roots.certificate_authorities.iter(), begin_s) {
                true => Check::Time,
                false => Check::Chain,
            }
        }
        Error::Certificate(_) => Check::Chain,
        Error::TransparencyLog(
            TransparencyLogError::EntryMismatch(_) | TransparencyLogError::MalformedEntry(_),
        ) => Check::Entry,
        Error::TransparencyLog(_)
        | Error::Bundle(
            Shape::MissingInclusionProof(_)
            | Shape::MissingSigningTimeEvidence
            | Shape::MissingCheckpoint
            | Shape::LogIndexOutOfRange { .. }
            | Shape::CheckpointRootMismatch,
        ) => Check::Log,
        Error::InvalidTrustRoot(_) | Error::TrustRoot(_) | Error::TrustedCertificate(_) => {
            Check::Roots
        }
        _ => Check::Format,
    };
    Refusal::new(check, format!("{}: {error}", what_failed(check)))
}

fn what_failed(check: Check) -> &'static str {
    match check {
        Check::Key | Check::Format => "the bundle cannot be read",
        Check::Roots => "the trusted roots cannot be used",
        Check::Digest => "the bundle is about another image",
        Check::Signature => "the signature is not that of the certificate for this image",
        Check::Identity => "another identity signed",
        Check::Issuer => "another issuer vouched for the identity",
        Check::Purpose | Check::Chain => "the certificate comes from no trusted root",
        Check::Time => "it is not proven that the certificate was valid when it signed",
        Check::Log => "no trusted log proves the signature",
        Check::Entry => "the entry of the log is about something else",
    }
}
