//! The user's own `git`, in a repository that is made for one call and removed after it: look at a
//! branch of a remote, put one file on top of it, push that under a name.
//!
//! Nothing is checked out, so no hook, filter or attribute of the remote comes to run. Every call
//! has a limit. A secret goes to git by its environment, never by its arguments.

use std::ffi::OsStr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use zeta_os::command::{self, Failure};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;

/// The time limit of one call of git: a shallow fetch of a large repository over a slow line.
const LIMIT: Duration = Duration::from_secs(120);
/// Most bytes of an answer of git.
const OUTPUT_MAX: usize = 16 << 20;

/// A remote, with what is needed to reach it.
#[derive(Debug, Clone)]
pub struct Remote {
    /// Its address, as git knows it.
    pub url: String,
    /// The address of the fork that branches are pushed to, if there is one.
    pub fork: Option<String>,
    /// A header with the token, for one server.
    pub header: Option<Header>,
}

/// A header line that holds a secret, and the only server that gets it.
#[derive(Clone)]
pub struct Header {
    /// The host, with its port if that is not the usual one; by HTTPS alone.
    pub host: String,
    /// The line.
    pub line: String,
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Header(…)")
    }
}

/// A repository that is removed when this is dropped.
#[derive(Debug)]
pub struct Repo {
    dir: PathBuf,
    remote: Remote,
}

/// The branch that a file is put on top of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Its name.
    pub branch: String,
    /// Its tip.
    pub commit: String,
}

/// The author that a commit names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// Name.
    pub name: String,
    /// Mail address.
    pub mail: String,
}

impl Drop for Repo {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Repo {
    /// Makes an empty repository that knows the remote.
    pub fn new(remote: Remote) -> Result<Repo> {
        let dir = std::env::temp_dir().join(format!("zeta-git-{}", host::random_hex()?));
        std::fs::DirBuilder::new().mode(0o700).create(&dir).map_err(|error| {
            Error::new(Kind::Fault, format!("cannot create {}: {error}", dir.display()))
        })?;
        let repo = Repo { dir, remote };
        repo.git(&["init", "-q", "--bare", "."], b"")?;
        Ok(repo)
    }

    /// Fetches the newest state of a branch; of the remote's default branch for `None`.
    pub fn fetch(&self, branch: Option<&str>) -> Result<Base> {
        let branch = match branch {
            Some(branch) => branch.to_owned(),
            None => self.default_branch()?,
        };
        let reference = format!("refs/heads/{branch}");
        // A fork may be behind, and takes no commit whose parents it never saw.
        let depth = self.remote.fork.is_none().then_some("--depth=1");
        let mut args = vec!["fetch", "-q", "--no-tags"];
        args.extend(depth);
        args.extend(["--", &self.remote.url, &reference]);
        self.git(&args, b"")?;
        let commit = self.git(&["rev-parse", "--verify", "FETCH_HEAD^{commit}"], b"")?;
        Ok(Base { branch, commit: commit.trim().to_owned() })
    }

    fn default_branch(&self) -> Result<String> {
        let said = self.git(&["ls-remote", "--symref", "--", &self.remote.url, "HEAD"], b"")?;
        let named = said.lines().find_map(|line| {
            line.strip_prefix("ref: refs/heads/")?.strip_suffix("\tHEAD").map(str::to_owned)
        });
        named.ok_or_else(|| {
            let text = format!("{}: it has no default branch yet", self.place());
            Error::new(Kind::Unsafe, text).hint("push a first commit, or name one: --base BRANCH")
        })
    }

    /// The address that branches of this node are pushed to.
    fn ours(&self) -> &str {
        self.remote.fork.as_deref().unwrap_or(&self.remote.url)
    }

    /// The tips of this node's branches whose names match a pattern, by name.
    pub fn branches(&self, pattern: &str) -> Result<Vec<(String, String)>> {
        let said = self.git(&["ls-remote", "--heads", "--", self.ours(), pattern], b"")?;
        let line = |line: &str| {
            let (commit, name) = line.split_once('\t')?;
            Some((name.strip_prefix("refs/heads/")?.to_owned(), commit.to_owned()))
        };
        Ok(said.lines().filter_map(line).collect())
    }

    /// The blob of a file in a commit that was fetched; `None` if it is not there.
    pub fn blob(&self, commit: &str, path: &str) -> Result<Option<String>> {
        let said = self.git(&["ls-tree", "--full-tree", commit, "--", path], b"")?;
        Ok(said.split_whitespace().nth(2).map(str::to_owned))
    }

    /// The files of a commit that was fetched below a directory.
    pub fn files(&self, commit: &str, below: &str) -> Result<Vec<String>> {
        let args = ["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit, "--", below];
        let said = self.git(&args, b"")?;
        Ok(said.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }

    /// The content of a file in a commit that was fetched.
    pub fn content(&self, commit: &str, path: &str) -> Result<String> {
        self.git(&["cat-file", "blob", &format!("{commit}:{path}")], b"")
    }

    /// A commit on top of `base` in which `path` has this content, or is gone for `None`.
    ///
    /// The same content, message and time on the same base is the same commit: pushed twice, it is
    /// pushed once.
    pub fn commit(
        &self,
        base: &Base,
        path: &str,
        content: Option<&str>,
        message: &str,
        (author, at_s): (&Author, i64),
    ) -> Result<String> {
        self.git(&["read-tree", &base.commit], b"")?;
        match content {
            Some(content) => {
                let blob = self.git(&["hash-object", "-w", "--stdin"], content.as_bytes())?;
                let info = format!("100644,{},{path}", blob.trim());
                self.git(&["update-index", "--add", "--cacheinfo", &info], b"")?;
            }
            None => {
                // The mode 0 removes; '--force-remove' would want a work tree.
                let gone = format!("0 {}\t{path}\n", "0".repeat(40));
                self.git(&["update-index", "--index-info"], gone.as_bytes())?;
            }
        }
        let tree = self.git(&["write-tree"], b"")?;
        let tree = tree.trim();
        if self.git(&["rev-parse", &format!("{}^{{tree}}", base.commit)], b"")?.trim() == tree {
            return Err(Error::new(Kind::Fault, format!("{path}: there is nothing to change")));
        }
        let mut command = self.command(&["commit-tree", tree, "-p", &base.commit]);
        for (who, what) in [("AUTHOR", author), ("COMMITTER", author)] {
            command.env(format!("GIT_{who}_NAME"), &what.name);
            command.env(format!("GIT_{who}_EMAIL"), &what.mail);
            command.env(format!("GIT_{who}_DATE"), format!("@{at_s} +0000"));
        }
        Ok(self.finish(command, "commit-tree", message.as_bytes())?.trim().to_owned())
    }

    /// Pushes a commit as a branch that must have the tip `expected` until now (`None`: be new).
    pub fn push(&self, commit: &str, branch: &str, expected: Option<&str>) -> Result<()> {
        let reference = format!("refs/heads/{branch}");
        let lease = format!("--force-with-lease={reference}:{}", expected.unwrap_or(""));
        let spec = format!("{commit}:{reference}");
        self.git(&["push", "-q", "--no-verify", &lease, "--", self.ours(), &spec], b"")?;
        Ok(())
    }

    /// The remote for people: without a secret in its address.
    fn place(&self) -> String {
        without_secret(&self.remote.url)
    }

    fn git(&self, args: &[&str], input: &[u8]) -> Result<String> {
        self.finish(self.command(args), args.first().copied().unwrap_or_default(), input)
    }

    fn command(&self, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(&self.dir).args(args).current_dir(&self.dir);
        // A caller inside of a repository or a hook has variables that would lead git there.
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            let ours =
                ["GIT_SSL_CAINFO", "GIT_SSH_COMMAND", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"];
            if name.starts_with("GIT_") && !ours.contains(&&*name) {
                command.env_remove(key);
            }
        }
        command.env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0").env("GIT_ASKPASS", "");
        // Not 'ext', which runs what stands in an address, whatever the user's own settings allow.
        command.env("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh");
        if std::env::var_os("GIT_SSH_COMMAND").is_none() {
            command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=20");
        }
        if let Some(Header { host, line }) = &self.remote.header {
            command.env("GIT_CONFIG_COUNT", "2");
            let key = format!("http.https://{host}/.extraHeader");
            command.env("GIT_CONFIG_KEY_0", key).env("GIT_CONFIG_VALUE_0", line);
            // Git would carry it to wherever an answer points.
            command.env("GIT_CONFIG_KEY_1", "http.followRedirects");
            command.env("GIT_CONFIG_VALUE_1", "false");
        }
        command
    }

    fn finish(&self, mut command: Command, what: &str, input: &[u8]) -> Result<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match command::run(&mut command, input, LIMIT, OUTPUT_MAX) {
            Ok(ended) if !ended.status.success() => Err(self.trouble(what, &text(&ended.errors))),
            // Half of an answer would be another answer.
            Ok(ended) if ended.is_cut => Err(Error::new(
                Kind::Fault,
                format!(
                    "git {what}: {}: the answer has more than {OUTPUT_MAX} bytes",
                    self.place()
                ),
            )),
            Ok(ended) => Ok(text(&ended.output)),
            Err(Failure::NotStarted(error)) => Err(no_git(error)),
            Err(Failure::TimedOut) => Err(Error::new(
                Kind::Busy,
                format!("git {what}: {} did not answer for {LIMIT:?}", self.place()),
            )
            .hint("try again; nothing was decided")),
        }
    }

    /// Makes an error of what git wrote to stderr. Git has one exit status for most failures, so
    /// its sentences are read here, and nowhere else; `LC_ALL=C` keeps them in English.
    fn trouble(&self, what: &str, said: &str) -> Error {
        let said = said.lines().filter(|line| !line.trim().is_empty());
        let said: Vec<String> = said.take(4).map(without_secret).collect();
        let said = said.join(" / ");
        let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let error = |kind: Kind| Error::new(kind, format!("git {what}: {}: {said}", self.place()));
        let by_forge = has(&["Permission to", "403", "Write access", "denied to"]);
        // A directory of this machine, or a hook of the remote.
        let by_place = has(&["Permission denied", "Read-only file system", "hook declined"]);
        let no_write = by_forge || (by_place && !has(&["publickey"]));
        match () {
            () if has(&["stale info", "[rejected]", "non-fast-forward", "already exists"]) => {
                error(Kind::Refused).hint("somebody else changed the branch meanwhile: try again")
            }
            () if has(&["protected branch", "GH006", "GH013"]) => error(Kind::Unsafe)
                .hint("the branch is protected: let this token push to 'register-node-*'"),
            () if no_write => error(Kind::Unsafe).hint(
                "this account may not push there: ask for write access, or use --fork OWNER/NAME",
            ),
            () if has(&[
                "Authentication failed",
                "could not read Username",
                "401",
                "publickey",
            ]) =>
            {
                error(Kind::Unsafe).hint("log in: 'gh auth login', or give --token-file")
            }
            () if has(&["Repository not found", "does not exist", "not appear to be a git"]) => {
                error(Kind::NotFound).hint("is the address right, and may this account see it?")
            }
            () if has(&["not allowed", "blocked", "bad repository"]) => error(Kind::Unsafe)
                .hint("give an address by https, ssh or git, or a path of this machine"),
            () if has(&["two-factor", "SSO", "SAML"]) => error(Kind::Unsafe)
                .hint("authorise the token for this organisation on the forge's page"),
            () => error(Kind::Fault).hint("nothing was decided; try again"),
        }
    }
}

fn no_git(error: std::io::Error) -> Error {
    Error::new(Kind::Unsafe, format!("git cannot be started: {error}"))
        .hint("install it (Debian: apt install git), then repeat")
}

/// An address, or a line of text, without what stands before an `@` in an address.
pub fn without_secret(text: &str) -> String {
    let mut parts = text.split("://");
    let mut told = parts.next().unwrap_or_default().to_owned();
    for rest in parts {
        let end = rest.find(['/', '\'', '"', ' ']).unwrap_or(rest.len());
        let (place, path) = rest.split_at(end);
        let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
        told += &format!("://{place}{path}");
    }
    told
}

#[cfg(test)]
mod tests {
    use super::{Header, Remote, Repo, without_secret};

    #[test]
    fn a_header_is_for_one_host_stands_in_no_argument_and_follows_nobody() {
        let header = Header { host: "forge:8443".to_owned(), line: "s3cret".to_owned() };
        let url = "https://elsewhere/o/r.git".to_owned();
        let remote = Remote { url, fork: None, header: Some(header) };
        assert!(!format!("{remote:?}").contains("s3cret"));
        let repo = Repo { dir: "/nowhere/at/all".into(), remote };
        let command = repo.command(&["config", "--get-urlmatch", "http.extraHeader"]);
        assert!(!command.get_args().any(|arg| arg.to_string_lossy().contains("s3cret")));
        for (url, told) in [
            ("https://forge:8443/o/r.git", "s3cret\n"),
            ("https://forge/o/r.git", ""),
            ("http://forge:8443/o/r.git", ""),
            ("https://forge:8443.elsewhere/o", ""),
        ] {
            // As git itself matches it; without a repository, for there is none here.
            let mut git = std::process::Command::new("git");
            git.args(["config", "--get-urlmatch", "http.extraHeader", url]);
            git.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
            let out = git.output().unwrap();
            assert_eq!(String::from_utf8_lossy(&out.stdout), told, "{url}");
        }
        let keys: Vec<_> =
            command.get_envs().filter_map(|(key, value)| Some((key, value?))).collect();
        assert!(keys.contains(&("GIT_CONFIG_KEY_1".as_ref(), "http.followRedirects".as_ref())));
    }

    #[test]
    fn an_address_is_told_without_its_secret() {
        for (text, told) in [
            ("https://user:t0ken@forge/o/r", "https://forge/o/r"),
            (
                "fatal: unable to access 'https://t0ken@forge/o/r/': x",
                "fatal: unable to access 'https://forge/o/r/': x",
            ),
            (
                "from https://forge/o to 'https://user:t0ken@other/o'",
                "from https://forge/o to 'https://other/o'",
            ),
            ("git@forge:o/r", "git@forge:o/r"),
            ("/srv/r.git", "/srv/r.git"),
        ] {
            assert_eq!(without_secret(text), told);
        }
    }
}
