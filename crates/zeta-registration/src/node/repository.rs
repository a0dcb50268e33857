//! The repository, its forge and the account, from the flags of a person or of a unit.

use std::path::PathBuf;

use zeta_core::registration::node::{About, ClusterNode, compose};

use crate::forge::git_only::GitOnly;
use crate::forge::github::{API, GitHub, Limits, RepoName};
use crate::forge::token;
use crate::forge::token::Places;
use crate::forge::{Forge, to_error};
use crate::git::{Author, Remote, without_secret};
use crate::hardware;
use crate::node::address;
use zeta_os::error::{Error, Result};
use zeta_os::temp_dir;

/// The repository in which nodes are registered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repository {
    /// `owner/name` on GitHub.
    pub repo: Option<String>,
    /// Its address for git; that on the server of the API, by HTTPS, for `None`.
    pub remote: Option<String>,
    /// A fork to push branches to, `owner/name`.
    pub fork: Option<String>,
    /// The fork's address for git; by HTTPS for `None`.
    pub fork_remote: Option<String>,
    /// Address of the API; GitHub's own for `None`.
    pub api: Option<String>,
    /// The branch that counts; the default branch for `None`.
    pub base: Option<String>,
    /// A file that holds the token.
    pub token_file: Option<PathBuf>,
}

/// A place that is ready to be asked.
pub struct Connection {
    /// For git.
    pub remote: Remote,
    /// For pull requests.
    pub forge: Box<dyn Forge>,
    /// The branch that counts.
    pub base: Option<String>,
}

impl Repository {
    /// The place of an intent, for a steward whose call is for `own`, which must be the same if it
    /// `matters`.
    pub fn of_intent(wanted: Repository, own: &Repository, matters: bool) -> Result<Repository> {
        let wanted = Repository { token_file: own.token_file.clone(), ..wanted };
        wanted.check()?;
        if own == &wanted || !matters {
            Ok(wanted)
        } else {
            Err(Error::usage(format!("the intent is for {wanted}, and this call is not"))
                .hint("if that is right, say the same: zeta node steward --repo OWNER/NAME …"))
        }
    }

    /// Refuses what is no address, and an address that holds a secret: it would stand in the
    /// arguments of git, which every user of the machine may read. What is refused may be a secret
    /// in the wrong place, and is not repeated.
    pub fn check(&self) -> Result<()> {
        for (option, name) in [("--repo", &self.repo), ("--fork", &self.fork)] {
            if name.as_deref().is_some_and(|name| slug(name).is_none()) {
                return Err(Error::usage(format!("{option}: it is not of the form OWNER/NAME"))
                    .hint("an address goes to --remote, and that of another server to --api"));
            }
        }
        for (option, url) in
            [("--remote", &self.remote), ("--fork-remote", &self.fork_remote), ("--api", &self.api)]
        {
            let Some(url) = url else { continue };
            let why = match address::judge(url) {
                _ if option == "--api" && !address::is_of_http(url) => "it is no address of https",
                Ok(()) => continue,
                Err(why) => why,
            };
            return Err(Error::usage(format!("{option}: {why}"))
                .hint("a token comes by --token-file, or as the variable that gh reads")
                .hint("for git alone: a credential helper, or an address of ssh"));
        }
        Ok(())
    }

    /// The host whose repositories these are: that of the API, which may be one beside it.
    fn host(&self) -> &str {
        let api = self.api.as_deref().unwrap_or(API);
        let place = api.split_once("://").map_or(api, |(_, rest)| rest);
        let place = place.split(['/', '?', '#']).next().unwrap_or_default();
        place.strip_prefix("api.").unwrap_or(place)
    }

    /// Finds the token, if one is needed, and makes the place ready.
    pub fn ready(&self) -> Result<Connection> {
        self.check()?;
        // What cannot be removed now is found again, by the next call or by 'zeta clean'.
        temp_dir::abandoned().iter().for_each(|left| drop(left.remove()));
        let base = self.base.clone();
        let Some(repo) = &self.repo else {
            let url = self.remote.clone().ok_or_else(|| {
                Error::usage("which repository? give --repo OWNER/NAME, or --remote URL")
                    .hint("with --remote alone a branch is pushed and no pull request is opened")
            })?;
            let remote = Remote { url, fork: self.fork_remote.clone(), header: None };
            let forge = Box::new(GitOnly::new(remote.clone(), base.clone()));
            return Ok(Connection { remote, forge, base });
        };
        let no_slug = || Error::usage("--repo: it is not of the form OWNER/NAME");
        let (owner, name) = slug(repo).ok_or_else(no_slug)?;
        let places = Places {
            file: self.token_file.as_deref(),
            variable: &|name| std::env::var(name).ok(),
            gh: "gh".as_ref(),
            host: self.host(),
        };
        let token = token::find(&places).map_err(|error| to_error(&error, "the forge's token"))?;
        let there = |repo: &String| format!("https://{}/{repo}.git", self.host());
        let url = self.remote.clone().unwrap_or_else(|| there(repo));
        let header = Some(token.header(self.host()));
        let repository = RepoName {
            api: self.api.clone().unwrap_or_else(|| API.to_owned()),
            owner: owner.to_owned(),
            name: name.to_owned(),
            base: base.clone(),
            fork: self.fork.clone(),
        };
        let github = GitHub::new(repository, token, Limits::default());
        let github = github.map_err(|error| to_error(&error, repo))?;
        let fork = self.fork_remote.clone().or_else(|| self.fork.as_ref().map(there));
        Ok(Connection { remote: Remote { url, fork, header }, forge: Box::new(github), base })
    }
}

impl std::fmt::Display for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let said = [
            ("--repo", &self.repo),
            ("--remote", &self.remote),
            ("--fork", &self.fork),
            ("--fork-remote", &self.fork_remote),
            ("--api", &self.api),
            ("--base", &self.base),
        ];
        let said = said.iter().filter_map(|(option, value)| {
            value.as_ref().map(|value| format!("{option} {}", without_secret(value)))
        });
        f.write_str(&said.collect::<Vec<_>>().join(" "))
    }
}

/// The two parts of `owner/name`.
fn slug(text: &str) -> Option<(&str, &str)> {
    text.split_once('/').filter(|(owner, name)| is_word(owner) && is_word(name))
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Refuses a maintainer that could be no directory.
pub fn check_maintainer(name: &str) -> Result<()> {
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if is_word(name) && begins && name.len() <= 39 {
        Ok(())
    } else {
        // It may be a secret in the wrong place.
        Err(Error::usage("--maintainer: it is not the name of a user of the forge")
            .hint("up to 39 letters, digits, '-', '_' and '.'; a letter or a digit comes first"))
    }
}

/// The file of this machine, as it is now.
pub fn compose_here(about: &About) -> ClusterNode {
    compose(about, hardware::probe())
}

/// The author of commits: the maintainer, at an address that belongs to no other person.
pub fn author(maintainer: &str) -> Author {
    Author { name: maintainer.to_owned(), mail: format!("{maintainer}@users.noreply.github.com") }
}

#[cfg(test)]
mod tests {
    use super::Repository;

    fn place(repo: &str, api: Option<&str>) -> Repository {
        Repository {
            repo: Some(repo.to_owned()),
            api: api.map(str::to_owned),
            ..Repository::default()
        }
    }

    #[test]
    fn an_intent_sends_a_token_only_where_its_owner_said() {
        let evil = place("acme/cluster", Some("https://evil"));
        let ours = place("acme/cluster", None);
        let of = |own: &Repository, matters| Repository::of_intent(evil.clone(), own, matters);
        assert_eq!(of(&Repository::default(), false), Ok(evil.clone()), "nobody else can write it");
        assert_eq!(of(&evil, true), Ok(evil.clone()));
        for own in [&Repository::default(), &ours] {
            assert!(of(own, true).unwrap_err().text.contains("--api https://evil"));
        }
        let file = Repository { token_file: Some("t".into()), ..evil.clone() };
        assert_eq!(of(&file, true), Ok(file.clone()));
    }

    #[test]
    fn the_host_that_gets_the_token_is_the_one_of_the_api() {
        for (api, host) in [
            (None, "github.com"),
            (Some("https://git.acme.example/api/v3"), "git.acme.example"),
            (Some("https://git.acme.example:8443/api/v3"), "git.acme.example:8443"),
            (Some("https://api.acme.ghe.com"), "acme.ghe.com"),
        ] {
            assert_eq!(place("a/b", api).host(), host);
        }
    }

    #[test]
    fn what_is_no_address_or_holds_a_secret_is_refused_and_not_repeated() {
        for url in [
            "https://user:t0ken@forge/o/r.git",
            "HTTPS://t0ken@forge/o/r.git",
            "http://t0ken@127.0.0.1:1/o",
            "https://user:t0k@en@forge?x",
            " https://u:t0ken@h/o",
            "http::https://u:t0ken@h/o",
            "https:///u:t0ken@h/o",
            "git://u:t0ken@h/o",
            "ftp://u:t0ken@h/o",
            "ssh://u:t0ken@h/o",
            "https://h/o\nt0ken",
        ] {
            for place in [
                Repository { remote: Some(url.to_owned()), ..Repository::default() },
                Repository { fork_remote: Some(url.to_owned()), ..place("a/b", None) },
                place("a/b", Some(url)),
            ] {
                let error = format!("{:?}", place.check().unwrap_err());
                assert!(!error.contains("t0k"), "{error}");
                assert!(place.ready().is_err());
            }
        }
        for place in [
            place("https://t0ken@github.com/a/b", None),
            place("t0ken", None),
            Repository { fork: Some("t0ken".to_owned()), ..place("a/b", None) },
            place("a/b", Some("t0ken")),
            place("a/b", Some("ssh://h/t0ken")),
        ] {
            let error = format!("{:?}", place.check().unwrap_err());
            assert!(!error.contains("t0ken"), "{error}");
        }
        for good in [
            "git@forge:o/r",
            "ssh://git@forge/o/r",
            "/srv/a@b.git",
            "https://forge/a@b",
            "file:///srv/a@b.git",
            "https://[::1]:8443/o/r",
        ] {
            let place = Repository { remote: Some(good.to_owned()), ..Repository::default() };
            assert_eq!(place.check(), Ok(()), "{good}");
        }
    }
}
