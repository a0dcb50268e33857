//! GitHub through its API, and GitHub Enterprise servers, which have the same one.
//!
//! *Not there* is said only where GitHub said so and could have seen it: a private repository that
//! the token may not see answers 404 to everything.

mod client;
mod error;
mod pull;
mod response;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use zeta_core::registration::{Answer, Pull, PullState, branch, is_of_node};

use self::client::{Client, encoded};
use self::pull::{PullAnswer, pull_of};
use super::{Forge, ForgeError, PullDraft, Search};
use crate::forge::token::Token;

/// The address of GitHub's own API.
pub const API: &str = "https://api.github.com";

/// Items of one page, the most that there can be.
const PAGE: usize = 100;
/// Pages of open pull requests that are read; a repository with more cannot be asked.
const MAX_PAGES: usize = 20;
/// Pull requests that are looked at one by one because a search found them.
const MAX_FOUND: usize = 50;
/// The newest open pull requests whose files are looked at.
const MAX_FILES: usize = 200;
/// Pages of comments that are read before another one is made.
const MAX_COMMENT_PAGES: usize = 5;

/// The limits of a request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest time of one call.
    pub call: Duration,
    /// Longest time of one operation, with its pages and repetitions.
    pub patience: Duration,
    /// The first pause before a request is repeated; it doubles.
    pub pause: Duration,
    /// Most bytes of one answer.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            call: Duration::from_secs(15),
            patience: Duration::from_secs(60),
            pause: Duration::from_millis(200),
            // A hundred pull requests, each with a text of the greatest length.
            bytes: 32 << 20,
        }
    }
}

/// A repository on GitHub.
#[derive(Debug, Clone)]
pub struct RepoName {
    /// The address of the API: [`API`], or that of another server (`https://host/api/v3`).
    pub api: String,
    /// The user or organization.
    pub owner: String,
    /// Its name.
    pub name: String,
    /// The branch that counts; `None` for the default one.
    pub base: Option<String>,
    /// The fork whose branches pull requests are made of, `owner/name`, if there is one.
    pub fork: Option<String>,
}

impl RepoName {
    fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The repository that branches are pushed to.
    fn head_name(&self) -> String {
        self.fork.clone().unwrap_or_else(|| self.full_name())
    }
}

/// GitHub.
pub struct GitHub {
    repository: RepoName,
    wire: Client,
}

#[derive(Deserialize)]
struct Blob {
    #[serde(rename = "type")]
    kind: String,
    sha: String,
}

/// A file, or something else: the list of what is in a directory.
#[derive(Deserialize)]
#[serde(untagged)]
enum Contents {
    File(Blob),
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Found {
    total_count: usize,
    incomplete_results: bool,
    items: Vec<FoundItem>,
}

#[derive(Deserialize)]
struct FoundItem {
    number: u64,
}

#[derive(Deserialize)]
struct FileChange {
    filename: String,
    status: String,
}

#[derive(Deserialize)]
struct Comment {
    #[serde(default)]
    body: String,
}

#[derive(Deserialize)]
struct Settings {
    default_branch: String,
    allow_auto_merge: Option<bool>,
    allow_merge_commit: Option<bool>,
    allow_squash_merge: Option<bool>,
}

impl GitHub {
    /// Makes the forge; no request is sent yet.
    pub fn new(repository: RepoName, token: Token, limits: Limits) -> Result<GitHub, ForgeError> {
        let wire = Client::new(&repository.api, token, limits)?;
        Ok(GitHub { repository, wire })
    }

    /// A path below the repository.
    fn path(&self, rest: &str) -> String {
        let RepoName { owner, name, .. } = &self.repository;
        format!("/repos/{}/{}{rest}", encoded(owner, false), encoded(name, false))
    }

    /// Gets something that has to be there, because what it belongs to is.
    fn must<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        until: Instant,
    ) -> Result<T, ForgeError> {
        match self.wire.get_json(path, until)? {
            (_, Some(value)) => Ok(value),
            (reply, None) => Err(error::judge(&self.wire.named("GET", path), &reply)),
        }
    }

    fn settings(&self, until: Instant) -> Result<Settings, ForgeError> {
        self.must(&self.path(""), until)
    }

    fn ask_file(&self, path: &str) -> Result<Option<String>, ForgeError> {
        let until = self.wire.deadline();
        let base = self.repository.base.as_deref();
        let query = base.map_or(String::new(), |base| format!("?ref={}", encoded(base, false)));
        let place = self.path(&format!("/contents/{}{query}", encoded(path, true)));
        match self.wire.get_json(&place, until)? {
            (_, Some(Contents::File(blob))) if blob.kind == "file" => Ok(Some(blob.sha)),
            (_, Some(Contents::File(blob))) => {
                Err(ForgeError::Refused(format!("{path} is a {}, not a file", blob.kind)))
            }
            (_, Some(Contents::Other(_))) => {
                Err(ForgeError::Refused(format!("{path} is a directory, not a file")))
            }
            (reply, None) => {
                // A missing scope of the token shows in the headers of the 404 itself.
                let trouble = error::judge(&self.wire.named("GET", &place), &reply);
                if let ForgeError::Forbidden(_) = trouble {
                    return Err(trouble);
                }
                self.sees_contents(until).map(|()| None)
            }
        }
    }

    /// Checks that the token may read the branch that counts. Only then 404 means *not there*.
    fn sees_contents(&self, until: Instant) -> Result<(), ForgeError> {
        let base = match &self.repository.base {
            Some(base) => base.clone(),
            None => self.settings(until)?.default_branch,
        };
        let head = self.path(&format!("/git/ref/heads/{}", encoded(&base, true)));
        self.must::<serde::de::IgnoredAny>(&head, until).map(|_| ())
    }

    fn pull(&self, answer: PullAnswer) -> Result<Pull, ForgeError> {
        pull_of(answer, &self.repository)
    }

    /// A branch of this node, as the forge names it.
    fn head(&self, branch: &str) -> String {
        let name = self.repository.head_name();
        format!("{}:{branch}", name.split('/').next().unwrap_or_default())
    }

    fn ask_branch(&self, branch: &str, until: Instant) -> Result<BTreeMap<u64, Pull>, ForgeError> {
        let mut known = BTreeMap::new();
        let head = self.head(branch);
        self.pages(&format!("state=all&head={}", encoded(&head, false)), &mut known, until)?;
        Ok(known)
    }

    /// The repository that a pull request has to name besides its branch: a fork of the same owner,
    /// which `owner:branch` does not tell from the repository itself.
    fn head_repo(&self) -> Option<&str> {
        let fork = self.repository.fork.as_deref()?;
        let owner = fork.split('/').next()?;
        owner.eq_ignore_ascii_case(&self.repository.owner).then_some(fork)
    }

    fn ask_pulls(&self, node: &str, path: &str, look: Search) -> Result<Vec<Pull>, ForgeError> {
        let until = self.wire.deadline();
        // The branch of this node, with pull requests in any state: an exact answer.
        let mut known = self.ask_branch(&branch(node), until)?;
        // All that are open, under any name.
        self.pages("state=open&sort=created&direction=asc", &mut known, until)?;
        // What ended a moment ago is not yet found by a search.
        let ended =
            self.path(&format!("/pulls?state=closed&sort=updated&direction=desc&per_page={PAGE}"));
        for pull in self.must::<Vec<PullAnswer>>(&ended, until)? {
            known.insert(pull.number, self.pull(pull)?);
        }
        let of_node = |known: &BTreeMap<u64, Pull>| {
            let pulls = known.values().filter(|pull| is_of_node(pull, node));
            pulls.cloned().collect::<Vec<_>>()
        };
        let quick = of_node(&known);
        // One that is open is an answer, and so is what a look for everything would not change.
        if look == Search::Quick || quick.iter().any(|pull| pull.state == PullState::Open) {
            return Ok(quick);
        }
        for term in [
            format!("\"{node}\" in:title,body"),
            format!("head:{}", branch(node)),
            format!("head:register-{node}"),
            format!("head:register/{node}"),
        ] {
            self.search(&term, &mut known, until)?;
        }
        let mut found = of_node(&known);
        let open = known.values().rev().filter(|pull| pull.state == PullState::Open);
        for pull in open.take(MAX_FILES) {
            if !is_of_node(pull, node) && self.adds(pull.number, path, until)? {
                found.push(pull.clone());
            }
        }
        Ok(found)
    }

    /// Returns true if a pull request adds this file. Only its first hundred files are looked at.
    fn adds(&self, number: u64, path: &str, until: Instant) -> Result<bool, ForgeError> {
        let files = self.path(&format!("/pulls/{number}/files?per_page={PAGE}"));
        let files: Vec<FileChange> = self.must(&files, until)?;
        Ok(files.iter().any(|file| file.filename == path && file.status != "removed"))
    }

    /// Reads a list page by page to its end.
    fn pages(
        &self,
        query: &str,
        known: &mut BTreeMap<u64, Pull>,
        until: Instant,
    ) -> Result<(), ForgeError> {
        for page in 1..=MAX_PAGES {
            let path = self.path(&format!("/pulls?{query}&per_page={PAGE}&page={page}"));
            let pulls: Vec<PullAnswer> = self.must(&path, until)?;
            let last = pulls.len() < PAGE;
            for pull in pulls {
                known.insert(pull.number, self.pull(pull)?);
            }
            if last {
                return Ok(());
            }
        }
        let most = MAX_PAGES * PAGE;
        Err(ForgeError::Refused(format!("{} has more than {most} open pull requests", self.name())))
    }

    /// The pull requests that only a search finds. It knows no branches, so each one is fetched.
    fn search(
        &self,
        term: &str,
        known: &mut BTreeMap<u64, Pull>,
        until: Instant,
    ) -> Result<(), ForgeError> {
        let RepoName { owner, name, .. } = &self.repository;
        let words = encoded(&format!("repo:{owner}/{name} is:pr {term}"), false);
        let found: Found =
            self.must(&format!("/search/issues?q={words}&per_page={PAGE}"), until)?;
        let new: Vec<u64> =
            found.items.iter().map(|item| item.number).filter(|n| !known.contains_key(n)).collect();
        if found.incomplete_results {
            let why = format!("{}: the search for {term} did not come to its end", self.name());
            return Err(ForgeError::Lost(why));
        }
        if found.total_count > found.items.len() || new.len() > MAX_FOUND {
            let why = format!(
                "{}: {} pull requests match {term}, which are too many to look at",
                self.name(),
                found.total_count
            );
            return Err(ForgeError::Refused(why));
        }
        for number in new {
            let pull: PullAnswer = self.must(&self.path(&format!("/pulls/{number}")), until)?;
            known.insert(number, self.pull(pull)?);
        }
        Ok(())
    }
}

impl Forge for GitHub {
    fn name(&self) -> String {
        let RepoName { api, owner, name, .. } = &self.repository;
        let host = if api == API { "github.com" } else { api.as_str() };
        format!("{host}, {owner}/{name}")
    }

    fn file(&self, path: &str) -> Answer<String> {
        match self.ask_file(path) {
            Ok(Some(blob)) => Answer::Found(blob),
            Ok(None) => Answer::Absent,
            Err(trouble) => Answer::Unknown(trouble.to_string()),
        }
    }

    fn pulls(&self, node: &str, path: &str, look: Search) -> Answer<Vec<Pull>> {
        answer_of(self.ask_pulls(node, path, look))
    }

    fn of_branch(&self, branch: &str) -> Answer<Vec<Pull>> {
        let until = self.wire.deadline();
        answer_of(self.ask_branch(branch, until).map(|known| known.into_values().collect()))
    }

    fn open(&self, draft: &PullDraft) -> Result<Pull, ForgeError> {
        let path = self.path("/pulls");
        let mut body = json!({
            "title": draft.title,
            "head": self.head(&draft.branch),
            "base": draft.base,
            "body": draft.body,
            "maintainer_can_modify": true,
        });
        if let (Some(fork), Some(fields)) = (self.head_repo(), body.as_object_mut()) {
            fields.insert("head".to_owned(), json!(draft.branch));
            fields.insert("head_repo".to_owned(), json!(fork));
        }
        let reply = self.wire.post(&path, &body)?;
        self.pull(reply.read(&self.wire.named("POST", &path))?)
    }

    fn comment_once(&self, number: u64, mark: &str, text: &str) -> Result<(), ForgeError> {
        let until = self.wire.deadline();
        let path = self.path(&format!("/issues/{number}/comments"));
        for page in 1..=MAX_COMMENT_PAGES {
            let asked = format!("{path}?per_page={PAGE}&page={page}");
            let comments: Vec<Comment> = self.must(&asked, until)?;
            if comments.iter().any(|comment| comment.body.contains(mark)) {
                return Ok(());
            }
            if comments.len() < PAGE {
                return self.wire.post(&path, &json!({ "body": text })).map(|_| ());
            }
        }
        Err(ForgeError::Refused(format!(
            "{path}: too many comments to look for ours: none is made"
        )))
    }

    fn arm_auto_merge(&self, pull: &Pull) -> Result<bool, ForgeError> {
        let until = self.wire.deadline();
        let path = self.path(&format!("/pulls/{}", pull.number));
        let seen: PullAnswer = self.must(&path, until)?;
        if seen.auto_merge.as_ref().is_some_and(|armed| !armed.is_null()) {
            return Ok(true);
        }
        if seen.changed_files != Some(1) {
            let why = "it changes more than the file of this node: a maintainer has to merge it";
            return Err(ForgeError::Refused(why.to_owned()));
        }
        let settings = self.settings(until)?;
        if settings.allow_auto_merge == Some(false) {
            return Ok(false);
        }
        // A token that may not see the settings gets none of them; the answer to the change says
        // why.
        let method = match (settings.allow_merge_commit, settings.allow_squash_merge) {
            (Some(false), Some(true)) => "SQUASH",
            (Some(false), Some(false)) => "REBASE",
            _ => "MERGE",
        };
        let query = "mutation($id: ID!, $method: PullRequestMergeMethod!) { \
                     enablePullRequestAutoMerge(input: {pullRequestId: $id, mergeMethod: $method}) \
                     { clientMutationId } }";
        let variables = json!({ "id": seen.node_id, "method": method });
        let asked = json!({ "query": query, "variables": variables });
        let reply = self.wire.post("/graphql", &asked)?;
        error::armed(&reply.read(&self.wire.named("POST", "/graphql"))?)
    }
}

fn answer_of(pulls: Result<Vec<Pull>, ForgeError>) -> Answer<Vec<Pull>> {
    match pulls {
        Ok(pulls) if pulls.is_empty() => Answer::Absent,
        Ok(pulls) => Answer::Found(pulls),
        Err(trouble) => Answer::Unknown(trouble.to_string()),
    }
}
