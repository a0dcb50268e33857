//! The answer, in words and as JSON, and the error that a refusal is.

use zeta_core::json::Object;
use zeta_core::time::format_utc;
use zeta_os::error::{Error, Kind};

use super::{Answer, NotChecked, Refusal, Signer};

/// One sentence for people, without a full stop.
pub fn text(answer: &Answer) -> String {
    match answer {
        Answer::Verified { by: Signer::Key { sha256 } } => {
            format!("provenance verified: signed by the key with the SHA-256 {sha256}")
        }
        Answer::Verified { by: Signer::Identity { identity, issuer, signed_s } } => {
            let at = format_utc(signed_s.saturating_mul(1_000_000));
            format!(
                "provenance verified: signed by {identity}, for which {issuer} vouched, at {at}"
            )
        }
        Answer::Refused { why } => format!("provenance refused: {}", why.text),
        Answer::NotChecked { why } => format!("provenance not checked: {}", words(*why)),
    }
}

fn words(why: NotChecked) -> &'static str {
    match why {
        NotChecked::NothingNamed => {
            "neither a public key nor a bundle was named; a file of digests proves that an image \
             is whole, and not whose it is"
        }
    }
}

/// Adds the keys of an answer to an object: `provenance` is `verified`, `refused` or
/// `not_checked`.
pub fn add_to(object: &mut Object, answer: &Answer) {
    match answer {
        Answer::Verified { by } => {
            object.text("provenance", "verified");
            match by {
                Signer::Key { sha256 } => object.text("signer_key_sha256", sha256),
                Signer::Identity { identity, issuer, signed_s } => object
                    .text("signer_identity", identity)
                    .text("signer_issuer", issuer)
                    .text("signed_at", &format_utc(signed_s.saturating_mul(1_000_000))),
            };
        }
        Answer::Refused { why } => {
            object.text("provenance", "refused").text("failed_check", why.check.word());
            object.text("provenance_reason", &why.text);
        }
        Answer::NotChecked { why } => {
            object.text("provenance", "not_checked").text("provenance_reason", words(*why));
        }
    }
}

/// The error that ends a call whose image was refused.
pub fn error(image: &str, why: &Refusal) -> Error {
    let text = format!("the image {image} is refused: {}; nothing was written", why.text);
    Error::new(Kind::Refused, text).hint(why.check.hint())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provenance::Check;

    #[test]
    fn three_answers_are_three_in_words_and_in_json() {
        let signer = Signer::Identity {
            identity: "https://a/b".to_owned(),
            issuer: "https://c".to_owned(),
            signed_s: 1_779_883_200,
        };
        let why = Refusal::new(Check::Log, "the log is \u{1b}[2J unknown");
        let answers = [
            Answer::Verified { by: Signer::Key { sha256: "00ff".to_owned() } },
            Answer::Verified { by: signer },
            Answer::Refused { why: why.clone() },
            Answer::NotChecked { why: NotChecked::NothingNamed },
        ];
        let json = |answer: &Answer| {
            let mut object = Object::new();
            add_to(&mut object, answer);
            object.into_text()
        };
        let shown: Vec<_> = answers.iter().map(|answer| (text(answer), json(answer))).collect();
        assert_eq!(shown[0].1, r#"{"provenance":"verified","signer_key_sha256":"00ff"}"#);
        assert!(
            shown[1].0.ends_with("https://c vouched, at 2026-05-27T12:00:00.000000Z"),
            "{}",
            shown[1].0
        );
        assert!(
            shown[1].1.contains(r#""signed_at":"2026-05-27T12:00:00.000000Z""#),
            "{}",
            shown[1].1
        );
        assert!(shown[2].1.starts_with(r#"{"provenance":"refused","failed_check":"log","#));
        assert!(!shown[2].0.contains('\u{1b}'), "no byte for the terminal");
        assert!(shown[3].0.contains("not checked") && !shown[3].0.contains("verified"));
        assert!(shown[3].1.starts_with(r#"{"provenance":"not_checked","#));

        let error = error("a.iso", &why);
        assert_eq!(error.kind.status(), 3);
        assert!(error.text.contains("a.iso") && !error.hints.is_empty(), "{error}");
    }
}
