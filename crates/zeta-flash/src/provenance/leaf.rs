//! What the certificate of a bundle says, and that its whole chain was valid.
//!
//! sigstore's crates take the first of several names in a certificate, and any certificate of a
//! trusted chain for a root. Here a certificate has one name, and the chain ends at its root.

use rustls_pki_types::{CertificateDer, UnixTime};
use sigstore_verify::crypto::WEBPKI_VERIFICATION_ALGS;
use sigstore_verify::trust_root::CertificateAuthority;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, Utf8StringRef};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{Decode, DecodeOwned};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{self, BasicConstraints, ExtendedKeyUsage, SubjectAltName};

use super::{Check, Refusal};

/// The issuer of an identity, as a string of DER.
const ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");
/// The same, as older programs read it: the bytes of the text.
const ISSUER_OLD: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1");
const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");

/// Compares what a certificate says with what it must say. It may still be a forged one.
///
/// # Errors
/// It is none, or says something else.
pub fn check(der: &[u8], identity: &str, issuer: &str) -> Result<(), Refusal> {
    let leaf = parse(der)?;
    check_identity(&leaf, identity)?;
    check_issuer(&leaf, issuer)?;
    check_purpose(&leaf)
}

/// Returns the time from which on a certificate is valid, in seconds since 1970.
///
/// # Errors
/// It is none.
pub fn begins_s(der: &[u8]) -> Result<u64, Refusal> {
    Ok(parse(der)?.tbs_certificate.validity.not_before.to_unix_duration().as_secs())
}

/// Reports whether a certificate comes from the root of one of some authorities, over certificates
/// that were all valid at a time.
pub fn has_chain<'a>(
    der: &[u8],
    mut authorities: impl Iterator<Item = &'a CertificateAuthority>,
    at_s: u64,
) -> bool {
    authorities.any(|authority| comes_from(der, authority, at_s).is_some())
}

fn comes_from(der: &[u8], authority: &CertificateAuthority, at_s: u64) -> Option<()> {
    let chain = &authority.cert_chain.certificates;
    let (root, between) = chain.split_last()?;
    let root = root.raw_bytes.as_bytes();
    let validity = Certificate::from_der(root).ok()?.tbs_certificate.validity;
    let begin_s = validity.not_before.to_unix_duration().as_secs();
    let end_s = validity.not_after.to_unix_duration().as_secs();
    if !(begin_s..=end_s).contains(&at_s) {
        return None;
    }
    let root = CertificateDer::from(root);
    let anchor = anchor_from_trusted_cert(&root).ok()?;
    let between: Vec<_> = between
        .iter()
        .map(|certificate| CertificateDer::from(certificate.raw_bytes.as_bytes()))
        .collect();
    let leaf = CertificateDer::from(der);
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at_s));
    let usage = KeyUsage::required_if_present(CODE_SIGNING.as_bytes());
    let leaf = EndEntityCert::try_from(&leaf).ok()?;
    let algorithms = WEBPKI_VERIFICATION_ALGS;
    leaf.verify_for_usage(algorithms, &[anchor], &between, time, usage, None, None).ok()?;
    Some(())
}

fn parse(der: &[u8]) -> Result<Certificate, Refusal> {
    let refused = |error| Refusal::new(Check::Format, format!("the certificate is none: {error}"));
    Certificate::from_der(der).map_err(refused)
}

/// The one extension of a kind.
fn extension<T>(leaf: &Certificate, check: Check) -> Result<Option<T>, Refusal>
where
    T: AssociatedOid + DecodeOwned,
{
    let refused = |error| {
        let text = format!("the certificate has an extension that cannot be read: {error}");
        Refusal::new(check, text)
    };
    let found = leaf.tbs_certificate.get::<T>().map_err(refused)?;
    Ok(found.map(|(_, extension)| extension))
}

fn check_identity(leaf: &Certificate, wanted: &str) -> Result<(), Refusal> {
    let refused = |text: String| Err(Refusal::new(Check::Identity, text));
    let names = extension::<SubjectAltName>(leaf, Check::Identity)?.map(|names| names.0);
    match names.as_deref() {
        Some([GeneralName::UniformResourceIdentifier(uri)]) if uri.as_str() == wanted => Ok(()),
        Some([GeneralName::UniformResourceIdentifier(uri)]) => {
            refused(format!("the certificate is that of {:?}, and not of {wanted:?}", uri.as_str()))
        }
        Some([GeneralName::Rfc822Name(mail)]) => refused(format!(
            "the certificate is that of the address {:?}, and not of {wanted:?}",
            mail.as_str()
        )),
        Some([]) | None => refused("the certificate has no name".to_owned()),
        Some([_]) => refused(format!("the certificate has a name of another kind than {wanted:?}")),
        Some(names) => {
            refused(format!("the certificate has {} names: which one counts?", names.len()))
        }
    }
}

/// Each issuer that the certificate names must be the wanted one.
fn check_issuer(leaf: &Certificate, wanted: &str) -> Result<(), Refusal> {
    let refused = |text: String| Err(Refusal::new(Check::Issuer, text));
    let extensions = leaf.tbs_certificate.extensions.iter().flatten();
    let named: Vec<_> = extensions
        .filter(|extension| [ISSUER, ISSUER_OLD].contains(&extension.extn_id))
        .map(|extension| (extension.extn_id, extension.extn_value.as_bytes()))
        .collect();
    if named.is_empty() {
        return refused("the certificate does not say who vouched for its identity".to_owned());
    }
    for (at, (kind, value)) in named.iter().enumerate() {
        if named.iter().skip(at + 1).any(|(other, _)| other == kind) {
            return refused("the certificate names an issuer twice".to_owned());
        }
        let text = match *kind {
            ISSUER => Utf8StringRef::from_der(value).ok().map(|text| text.as_str().to_owned()),
            _ => std::str::from_utf8(value).ok().map(str::to_owned),
        };
        match text {
            Some(text) if text == wanted => {}
            Some(text) => {
                let text = format!(
                    "{text:?} vouched for the identity of the certificate, and not {wanted:?}"
                );
                return refused(text);
            }
            None => return refused("the issuer in the certificate is no text".to_owned()),
        }
    }
    Ok(())
}

fn check_purpose(leaf: &Certificate) -> Result<(), Refusal> {
    let refused = |text: &str| Err(Refusal::new(Check::Purpose, text));
    let basic = extension::<BasicConstraints>(leaf, Check::Purpose)?;
    if basic.is_some_and(|basic| basic.ca) {
        return refused("the certificate is that of an authority, and not of one who signs");
    }
    let usage = extension::<pkix::KeyUsage>(leaf, Check::Purpose)?;
    if !usage.is_some_and(|usage| usage.digital_signature()) {
        return refused("the certificate is not one for signatures");
    }
    let extended = extension::<ExtendedKeyUsage>(leaf, Check::Purpose)?;
    if !extended.is_some_and(|extended| extended.0.contains(&CODE_SIGNING)) {
        return refused("the certificate is not one for signing code");
    }
    Ok(())
}
