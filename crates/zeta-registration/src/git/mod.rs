//! The user's own `git`, in a repository that is made for one call and removed after it: look at a
//! branch of a remote, put one file on top of it, push that under a name.
//!
//! Nothing is checked out, so no hook, filter or attribute of the remote comes to run. Every call
//! has a limit. A secret goes to git by its environment, never by its arguments, and only to the
//! calls that need it.

mod environment;
mod trouble;

use std::cell::OnceCell;
use std::process::Command;
use std::time::Duration;

use zeta_os::command::{self, Failure, Finished};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::temp_dir::TempDir;

pub use self::environment::Header;
use self::environment::Wishes;
use self::trouble::Said;
pub use self::trouble::{Effect, PushError};

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

/// A repository that is removed when this is dropped.
#[derive(Debug)]
pub struct Repo {
    dir: TempDir,
    remote: Remote,
    /// The hex digits of an object's id, once the repository was made as the remote's kind.
    id_len: OnceCell<usize>,
    wishes: OnceCell<Wishes>,
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

/// The part of a branch that is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Its tip; all of it where a branch goes to a fork, which may be behind and takes no commit
    /// whose parents it never saw.
    Tip,
    /// Its commits and directories, without the content of files.
    History,
}

impl Repo {
    /// Makes a place for a repository that knows the remote.
    pub fn new(remote: Remote) -> Result<Repo> {
        let dir = TempDir::new().map_err(|(path, errno)| {
            Error::io("cannot create", &path, errno)
                .hint("git works in there: set TMPDIR to a directory of your own on a local disk")
        })?;
        Ok(Repo { dir, remote, id_len: OnceCell::new(), wishes: OnceCell::new() })
    }

    /// Fetches the newest state of a branch; of the remote's default branch for `None`.
    pub fn fetch(&self, branch: Option<&str>) -> Result<Base> {
        self.fetch_to(branch, Depth::Tip)
    }

    /// As [`Repo::fetch`], to this depth.
    pub fn fetch_to(&self, branch: Option<&str>, depth: Depth) -> Result<Base> {
        let (branch, id_len) = self.look(branch)?;
        if self.id_len.set(id_len).is_ok() {
            let format = if id_len == 64 { "sha256" } else { "sha1" };
            let kind = format!("--object-format={format}");
            self.local(&["init", "-q", "--bare", &kind, "."], b"")?;
        }
        let reference = format!("refs/heads/{branch}");
        let mut args = vec!["fetch", "-q", "--no-tags"];
        match depth {
            Depth::History => args.push("--filter=blob:none"),
            Depth::Tip if self.remote.fork.is_none() => args.push("--depth=1"),
            Depth::Tip => {}
        }
        args.extend(["--", &self.remote.url, &reference]);
        self.remote(&self.remote.url, &args)?;
        let commit = self.local(&["rev-parse", "--verify", "FETCH_HEAD^{commit}"], b"")?;
        Ok(Base { branch, commit: commit.trim().to_owned() })
    }

    /// The branch that counts, and the length of the remote's ids: the kind of its repository.
    fn look(&self, branch: Option<&str>) -> Result<(String, usize)> {
        let reference = branch.map_or("HEAD".to_owned(), |branch| format!("refs/heads/{branch}"));
        let args = ["ls-remote", "--symref", "--", &self.remote.url, &reference];
        let said = self.remote(&self.remote.url, &args)?;
        let named = said.lines().find_map(|line| {
            line.strip_prefix("ref: refs/heads/")?.strip_suffix("\tHEAD").map(str::to_owned)
        });
        let ids = said.lines().filter(|line| !line.starts_with("ref: "));
        let mut ids = ids.filter_map(|line| line.split_once('\t'));
        let id = ids.find(|(_, name)| *name == reference).map(|(id, _)| id.len());
        match (branch.map(str::to_owned).or(named), id) {
            (Some(branch), Some(id_len)) => Ok((branch, id_len)),
            (_, None) if branch.is_some() => {
                let text = format!("{}: it has no branch {reference:?}", self.place());
                Err(Error::new(Kind::NotFound, text).hint("is --base right?"))
            }
            _ => {
                let text = format!("{}: it has no default branch yet", self.place());
                Err(Error::new(Kind::Unsafe, text)
                    .hint("push a first commit, or name one: --base BRANCH"))
            }
        }
    }

    /// The address that branches of this node are pushed to.
    fn ours(&self) -> &str {
        self.remote.fork.as_deref().unwrap_or(&self.remote.url)
    }

    /// The tips of this node's branches whose names match a pattern, by name.
    pub fn branches(&self, pattern: &str) -> Result<Vec<(String, String)>> {
        let args = ["ls-remote", "--heads", "--", self.ours(), pattern];
        let said = self.remote(self.ours(), &args)?;
        let line = |line: &str| {
            let (commit, name) = line.split_once('\t')?;
            Some((name.strip_prefix("refs/heads/")?.to_owned(), commit.to_owned()))
        };
        Ok(said.lines().filter_map(line).collect())
    }

    /// The commit of the history that changed a file last: one that removed it, if it is not there
    /// any more. `None` if it never was.
    pub fn last_change(&self, commit: &str, path: &str) -> Result<Option<String>> {
        let said = self.local(&["rev-list", "-1", commit, "--", path], b"")?;
        Ok(said.lines().next().map(str::to_owned))
    }

    /// The first line of the message of a commit that was fetched.
    pub fn subject(&self, commit: &str) -> Result<String> {
        let said = self.local(&["log", "-1", "--no-show-signature", "--format=%s", commit], b"")?;
        Ok(said.trim_end().to_owned())
    }

    /// The blob of a file in a commit that was fetched; `None` if it is not there.
    pub fn blob(&self, commit: &str, path: &str) -> Result<Option<String>> {
        let said = self.local(&["ls-tree", "--full-tree", commit, "--", path], b"")?;
        Ok(said.split_whitespace().nth(2).map(str::to_owned))
    }

    /// The files of a commit that was fetched below a directory.
    pub fn files(&self, commit: &str, below: &str) -> Result<Vec<String>> {
        let args = ["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit, "--", below];
        let said = self.local(&args, b"")?;
        Ok(said.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }

    /// The content of a file in a commit that was fetched.
    pub fn content(&self, commit: &str, path: &str) -> Result<String> {
        self.local(&["cat-file", "blob", &format!("{commit}:{path}")], b"")
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
        self.local(&["read-tree", &base.commit], b"")?;
        match content {
            Some(content) => {
                let blob = self.local(&["hash-object", "-w", "--stdin"], content.as_bytes())?;
                let info = format!("100644,{},{path}", blob.trim());
                self.local(&["update-index", "--add", "--cacheinfo", &info], b"")?;
            }
            None => {
                // The mode 0 removes; '--force-remove' would want a work tree.
                let gone =
                    format!("0 {}\t{path}\n", "0".repeat(self.id_len.get().copied().unwrap_or(40)));
                self.local(&["update-index", "--index-info"], gone.as_bytes())?;
            }
        }
        let tree = self.local(&["write-tree"], b"")?;
        let tree = tree.trim();
        if self.local(&["rev-parse", &format!("{}^{{tree}}", base.commit)], b"")?.trim() == tree {
            return Err(Error::new(Kind::Fault, format!("{path}: there is nothing to change")));
        }
        let mut command = self.command(&["commit-tree", tree, "-p", &base.commit], None);
        for (who, what) in [("AUTHOR", author), ("COMMITTER", author)] {
            command.env(format!("GIT_{who}_NAME"), &what.name);
            command.env(format!("GIT_{who}_EMAIL"), &what.mail);
            command.env(format!("GIT_{who}_DATE"), format!("@{at_s} +0000"));
        }
        let made = self.finish(command, "commit-tree", message.as_bytes());
        made.map(|commit| commit.trim().to_owned()).map_err(|failed| failed.error)
    }

    /// Pushes a commit as a branch that must have the tip `expected` until now (`None`: be new).
    pub fn push(
        &self,
        commit: &str,
        branch: &str,
        expected: Option<&str>,
    ) -> std::result::Result<(), PushError> {
        let reference = format!("refs/heads/{branch}");
        let lease = format!("--force-with-lease={reference}:{}", expected.unwrap_or(""));
        let spec = format!("{commit}:{reference}");
        let ours = self.ours();
        let args = ["push", "-q", "--porcelain", "--no-verify", &lease, "--", ours, &spec];
        let wishes = self.wishes().map_err(|error| PushError { error, effect: Effect::None })?;
        self.finish(self.command(&args, Some((ours, wishes))), "push", b"").map(|_| ())
    }

    /// The remote for people: without a secret in its address.
    fn place(&self) -> String {
        without_secret(&self.remote.url)
    }

    /// A call that stays on this machine.
    fn local(&self, args: &[&str], input: &[u8]) -> Result<String> {
        let what = args.first().copied().unwrap_or_default();
        self.finish(self.command(args, None), what, input).map_err(|failed| failed.error)
    }

    /// A call that asks the server of `address`.
    fn remote(&self, address: &str, args: &[&str]) -> Result<String> {
        let what = args.first().copied().unwrap_or_default();
        let command = self.command(args, Some((address, self.wishes()?)));
        self.finish(command, what, b"").map_err(|failed| failed.error)
    }

    /// What the user's settings say that a default of ours must not overrule.
    fn wishes(&self) -> Result<Wishes> {
        if let Some(wishes) = self.wishes.get() {
            return Ok(*wishes);
        }
        let names = ["config", "--name-only", "--get-regexp", "^core\\.(sshcommand|askpass)$"];
        let said = command::run(&mut self.command(&names, None), b"", LIMIT, OUTPUT_MAX);
        // It fails where none of them is set.
        let said = said.map(|ended| String::from_utf8_lossy(&ended.output).into_owned());
        let said = said.map_err(|failure| self.not_run("config", failure))?;
        let is_set = |name: &str| said.lines().any(|line| line == name);
        let wishes = Wishes { ssh: is_set("core.sshcommand"), askpass: is_set("core.askpass") };
        Ok(*self.wishes.get_or_init(|| wishes))
    }

    /// A call of git in the repository, or beside every one while there is none. One that goes to
    /// a server gets the token if it is the right server.
    fn command(&self, args: &[&str], goes_to: Option<(&str, Wishes)>) -> Command {
        let mut command = Command::new("git");
        if self.id_len.get().is_some() {
            command.arg("--git-dir").arg(self.dir.path());
        }
        command.args(args).current_dir(self.dir.path());
        let (address, wishes) = goes_to.unwrap_or_default();
        environment::prepare(&mut command, wishes);
        command.env("GIT_CEILING_DIRECTORIES", self.dir.path().parent().unwrap_or(self.dir.path()));
        let header = self.remote.header.as_ref().filter(|header| header.is_for(address));
        environment::configure(&mut command, header);
        command
    }

    fn finish(
        &self,
        mut command: Command,
        what: &str,
        input: &[u8],
    ) -> std::result::Result<String, PushError> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let unknown = |error| PushError { error, effect: Effect::Unknown };
        match command::run(&mut command, input, LIMIT, OUTPUT_MAX) {
            Ok(ended) if !ended.status.success() => Err(self.trouble(what, &ended)),
            // Half of an answer would be another answer.
            Ok(ended) if ended.is_cut => {
                let place = self.place();
                let text = format!("git {what}: {place}: the answer has over {OUTPUT_MAX} bytes");
                Err(unknown(Error::new(Kind::Fault, text)))
            }
            Ok(ended) => Ok(text(&ended.output)),
            Err(failure) => Err(unknown(self.not_run(what, failure))),
        }
    }

    fn not_run(&self, what: &str, failure: Failure) -> Error {
        match failure {
            Failure::NotStarted(error) => no_git(error),
            Failure::TimedOut | Failure::OutputOpen(_) => {
                let text = format!("git {what}: {} did not answer for {LIMIT:?}", self.place());
                Error::new(Kind::Busy, text).hint("try again; nothing was decided")
            }
        }
    }

    /// Makes an error of what git printed before it failed.
    fn trouble(&self, what: &str, ended: &Finished) -> PushError {
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            match &self.remote.header {
                Some(header) => header.without_login(&text),
                None => text.into_owned(),
            }
        };
        let (output, errors) = (text(&ended.output), text(&ended.errors));
        let said = Said { output: &output, errors: &errors };
        let (kind, hint) = trouble::judge(&said);
        let effect = trouble::effect(&said, kind);
        let lines = errors.lines().filter(|line| !line.trim().is_empty());
        let lines: Vec<String> = lines.take(4).map(without_secret).collect();
        let text = format!("git {what}: {}: {}", self.place(), lines.join(" / "));
        PushError { error: Error::new(kind, text).hint(hint), effect }
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
    use super::{Header, Remote, Repo, Wishes, without_secret};

    #[test]
    fn a_header_is_for_one_host_stands_in_no_argument_and_follows_nobody() {
        let header = Header { host: "forge:8443".to_owned(), line: "s3cret".to_owned() };
        let url = "https://forge:8443/o/r.git";
        let remote = Remote { url: url.to_owned(), fork: None, header: Some(header) };
        assert!(!format!("{remote:?}").contains("s3cret"));
        let repo = Repo::new(remote).unwrap();
        let get = ["config", "--get-urlmatch", "http.extraHeader"];
        for other in ["https://elsewhere/o/r", "http://forge:8443/o", "/srv/r.git", "git@forge:o"] {
            let command = repo.command(&get, Some((other, Wishes::default())));
            assert!(!format!("{command:?}").contains("s3cret"), "{other}");
        }
        assert!(
            !format!("{:?}", repo.command(&get, None)).contains("s3cret"),
            "no server is asked"
        );
        let command = repo.command(&get, Some((url, Wishes::default())));
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
        let mut values = command.get_envs().filter_map(|(_, value)| value);
        assert!(values.any(|value| value == "http.followRedirects"));
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
