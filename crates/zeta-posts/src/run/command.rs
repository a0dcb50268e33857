//! What a tick runs: the program of the choice, as a session of `zeta run`, under the lease of the
//! persona.

use std::ffi::OsString;
use std::path::Path;

use zeta_core::name::{Label, RecordName};
use zeta_core::repair;
use zeta_core::schedule::Post;
use zeta_core::schedule::policy::{Program, agent_of};
use zeta_os::error::Result;

/// The exit status of a tick that did not begin, because another process has the lease.
pub(super) const BUSY: u8 = 250;
/// The TTL of the lease: `zeta lease exec` renews it, and frees it at its end.
const TTL: &str = "1m";
/// The variable that each process of a tick is started with.
const MARK: &str = "ZETA_GUARD_POST";
/// An argument that stands for all arguments that go on with a session.
const RESUME: &str = "{resume}";

/// The lease of a persona: it works at one post at a time.
pub(super) fn lease_of(persona: &Label) -> Result<RecordName> {
    Ok(RecordName::new("lease", &repair::lease_of(persona))?)
}

/// The value of [`MARK`]: the same for all ticks of a post, and another one for each post and tree.
pub(super) fn mark(post: u32, state_dir: &Path) -> (&'static str, OsString) {
    let mut value = OsString::from(format!("{post} "));
    value.push(state_dir);
    (MARK, value)
}

/// What the arguments of a tick are made of.
pub(super) struct Parts<'a> {
    /// The path of this program.
    pub(super) own: &'a Path,
    /// The number of the post.
    pub(super) post: u32,
    /// Who stands there.
    pub(super) standing: &'a Post,
    /// What the policy says for the choice.
    pub(super) program: &'a Program,
    /// What the agent is asked.
    pub(super) prompt: &'a str,
    /// The session that the agent goes on with.
    pub(super) session: Option<&'a str>,
}

impl Parts<'_> {
    /// The whole command line.
    pub(super) fn argv(&self) -> Result<Vec<OsString>> {
        let Post { persona, .. } = self.standing;
        let (agent, lease) = (agent_of(persona, self.post)?, lease_of(persona)?);
        let (purpose, busy) = (format!("a tick of post {}", self.post), BUSY.to_string());
        let mut argv = vec![self.own.as_os_str().to_owned()];
        argv.extend(["lease", "exec", lease.as_str(), "--as", agent.as_str()].map(OsString::from));
        argv.extend(["--ttl", TTL, "-n", "-E", &busy, "--purpose"].map(OsString::from));
        argv.extend([purpose.into(), "--".into(), self.own.as_os_str().to_owned()]);
        let persona = ["--persona", persona.as_str(), "--"];
        argv.extend(["run", "--as", agent.as_str()].into_iter().chain(persona).map(OsString::from));
        argv.push((&self.program.program).into());
        argv.extend(self.arguments().into_iter().map(OsString::from));
        Ok(argv)
    }

    /// The arguments of the program itself.
    fn arguments(&self) -> Vec<String> {
        let Program { arguments, resume, .. } = self.program;
        let resume = match self.session {
            Some(_) => resume.as_slice(),
            None => &[],
        };
        let has_place = arguments.iter().any(|argument| argument == RESUME);
        let mut all = Vec::new();
        for argument in arguments {
            match argument == RESUME {
                true => all.extend(resume),
                false => all.push(argument),
            }
        }
        if !has_place {
            all.extend(resume);
        }
        let (post, choice) = (self.post.to_string(), &self.standing.choice);
        let values = [
            ("prompt", self.prompt),
            ("persona", self.standing.persona.as_str()),
            ("post", &post),
            ("session", self.session.unwrap_or_default()),
            ("line", choice.line.as_str()),
            ("tier", choice.tier.word()),
            ("harness", choice.harness.as_str()),
        ];
        all.into_iter().map(|argument| fill(argument, &values)).collect()
    }
}

/// Puts values in the place of `{name}`, once: what a value has in braces stays as it is, and so do
/// names that are not known.
fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.split_once('{') {
        filled.push_str(before);
        let known = values.iter().find_map(|(name, value)| {
            let after = from.strip_prefix(name)?.strip_prefix('}')?;
            Some((after, value))
        });
        match known {
            Some((after, value)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = from;
            }
        }
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeta_core::schedule::{Choice, Tier};

    fn arguments(arguments: &[&str], resume: &[&str], session: Option<&str>) -> Vec<String> {
        let label = |text: &str| text.parse().unwrap();
        let choice =
            Choice { line: label("anthropic"), tier: Tier::High, harness: label("claude-code") };
        let standing = Post { persona: label("otto"), choice };
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let program = Program {
            program: "claude".to_owned(),
            arguments: texts(arguments),
            resume: texts(resume),
        };
        let parts = Parts {
            own: Path::new("/usr/bin/zeta"),
            post: 2,
            standing: &standing,
            program: &program,
            prompt: "look at {post}",
            session,
        };
        let argv = parts.argv().unwrap();
        let argv: Vec<&str> = argv.iter().map(|word| word.to_str().unwrap()).collect();
        let before = "/usr/bin/zeta lease exec guard-post.otto --as otto-post2 --ttl 1m -n -E 250 \
                      --purpose|a tick of post 2|-- /usr/bin/zeta run --as otto-post2 --persona \
                      otto -- claude";
        let mut parts = before.split('|');
        let mut expected: Vec<&str> = parts.next().unwrap().split_whitespace().collect();
        expected.push(parts.next().unwrap());
        expected.extend(parts.next().unwrap().split_whitespace());
        assert_eq!(argv[..expected.len()], expected);
        argv[expected.len()..].iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn names_in_braces_are_filled_once_and_others_stay() {
        let all = ["-p", "{prompt}", "{persona}@{post}", "{line}/{tier}/{harness}", "{a}{", "{}}"];
        assert_eq!(
            arguments(&all, &[], None),
            ["-p", "look at {post}", "otto@2", "anthropic/high/claude-code", "{a}{", "{}}"]
        );
        assert_eq!(arguments(&["[{session}]"], &[], None), ["[]"]);
        assert_eq!(arguments(&["{{post}}"], &[], None), ["{2}"]);
    }

    #[test]
    fn a_session_is_gone_on_with_at_its_place_or_at_the_end() {
        let resume = ["--resume", "{session}"];
        assert_eq!(arguments(&["-p", "x"], &resume, None), ["-p", "x"]);
        assert_eq!(arguments(&["-p", "x"], &resume, Some("s-1")), ["-p", "x", "--resume", "s-1"]);
        let codex = ["exec", "{resume}", "{prompt}"];
        let resume = ["resume", "{session}"];
        assert_eq!(arguments(&codex, &resume, None), ["exec", "look at {post}"]);
        assert_eq!(
            arguments(&codex, &resume, Some("s-1")),
            ["exec", "resume", "s-1", "look at {post}"]
        );
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        let long = "a".repeat(60).parse().unwrap();
        assert!(agent_of(&long, 1).is_err());
        assert_ne!(mark(1, Path::new("/a")), mark(2, Path::new("/a")));
        assert_ne!(mark(1, Path::new("/a")), mark(1, Path::new("/b")));
    }
}
