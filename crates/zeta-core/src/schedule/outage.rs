//! Whether a tick failed because its vendor cannot be used now, by what its program said.

use super::state::Outcome;

/// How much of the end of stderr is looked at, in bytes.
pub const STDERR_MAX: usize = 16 * 1024;

/// What programs of agents say when their vendor cannot be used, in small letters. Each is a
/// message of a vendor's own interface, or of Claude Code, Codex or Gemini CLI about it. Words of
/// the network and names of HTTP statuses are none: an agent on guard prints them of what it
/// guards, as others do with "rate limit" and "quota exceeded".
const KNOWN: [&str; 13] = [
    "overloaded_error",
    "529 overloaded",
    "model is overloaded",
    "model is at capacity",
    "rate_limit_error",
    "rate_limit_exceeded",
    "usage limit reached",
    "hit your usage limit",
    "insufficient_quota",
    "exceeded your current quota",
    "quota exceeded for quota metric",
    "resource_exhausted",
    "exceeded retry limit, last status",
];

/// What the program of a line says while its vendor cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signs {
    /// Exit statuses.
    pub statuses: Vec<u8>,
    /// Parts of a line of stderr, in any case of letters.
    pub texts: Vec<String>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a status.
    Status(u8),
    /// It was ended after its limit of time.
    TimedOut,
}

/// Judges a tick by its end and by the end of its stderr. A tick that hangs has failed: what it
/// said before is no evidence of an outage.
pub fn judge(end: End, stderr: &[u8], signs: &Signs) -> Outcome {
    match end {
        End::Status(0) => Outcome::Ok,
        End::TimedOut => Outcome::Failed,
        End::Status(status) if signs.statuses.contains(&status) => Outcome::Outage,
        End::Status(_) => {
            let tail = stderr.get(stderr.len().saturating_sub(STDERR_MAX)..).unwrap_or_default();
            let text = String::from_utf8_lossy(tail).to_lowercase();
            let own = signs.texts.iter().map(|text| text.to_lowercase());
            let mut all = KNOWN.iter().map(|text| (*text).to_owned()).chain(own);
            let is_outage = all.any(|sign| !sign.is_empty() && text.contains(&sign));
            if is_outage { Outcome::Outage } else { Outcome::Failed }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_known_by_status_or_text_and_a_hang_is_none() {
        let signs = Signs { statuses: vec![75], texts: vec!["Try Later".to_owned()] };
        for (end, stderr, outcome) in [
            (End::Status(0), "overloaded", Outcome::Ok),
            (End::Status(1), "error: boom", Outcome::Failed),
            (End::Status(75), "", Outcome::Outage),
            (End::Status(1), "API Error: 529 {\"type\":\"overloaded_error\"}", Outcome::Outage),
            (End::Status(1), "Quota exceeded for quota metric 'x'", Outcome::Outage),
            (End::Status(1), "please TRY LATER\n", Outcome::Outage),
            (
                End::Status(1),
                "dial tcp 127.0.0.1:6443: connect: connection refused",
                Outcome::Failed,
            ),
            (End::Status(1), "curl: (6) Could not resolve host: k3s", Outcome::Failed),
            (End::Status(1), "ingress: 503 Service Temporarily Unavailable", Outcome::Failed),
            (End::Status(1), "gh: API rate limit exceeded for user 7", Outcome::Failed),
            (End::Status(1), "write /var: Disk quota exceeded", Outcome::Failed),
            (End::Status(1), "the node is overloaded", Outcome::Failed),
            (End::TimedOut, "rate limit", Outcome::Failed),
        ] {
            assert_eq!(judge(end, stderr.as_bytes(), &signs), outcome, "{stderr}");
        }
        let long = [b"rate limit ".as_slice(), &[b'x'; STDERR_MAX]].concat();
        assert_eq!(judge(End::Status(1), &long, &Signs::default()), Outcome::Failed);
        assert_eq!(judge(End::Status(1), &[0xff, 0xfe], &Signs::default()), Outcome::Failed);
    }
}
