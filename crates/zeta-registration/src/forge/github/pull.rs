//! A pull request as GitHub tells of it, and whose it is.

use serde::Deserialize;
use zeta_core::registration::{From, Pull, PullState};
use zeta_core::time::parse_utc;

use super::RepoName;
use crate::forge::ForgeError;

/// The answer about one pull request, alone or in a list.
#[derive(Deserialize)]
pub(super) struct PullAnswer {
    pub(super) number: u64,
    html_url: String,
    state: String,
    merged_at: Option<String>,
    title: String,
    body: Option<String>,
    head: Head,
    base: Head,
    /// Its author; an account may be gone, too.
    user: Option<Author>,
    author_association: String,
    pub(super) node_id: String,
    #[serde(default)]
    pub(super) auto_merge: Option<serde_json::Value>,
    /// The number of files that it changes: in the answer about one pull request, not in a list.
    pub(super) changed_files: Option<u64>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "ref")]
    branch: String,
    /// Its repository; a fork may be gone.
    repo: Option<Whose>,
    /// `owner:branch`, which stays when the fork is gone.
    #[serde(default)]
    label: Option<String>,
}

#[derive(Deserialize)]
struct Whose {
    full_name: String,
}

#[derive(Deserialize)]
struct Author {
    login: String,
}

/// Reads the answer, and where its branch lies.
pub(super) fn pull_of(answer: PullAnswer, repository: &RepoName) -> Result<Pull, ForgeError> {
    let state = match (&answer.merged_at, answer.state.as_str()) {
        (Some(at), _) => match parse_utc(at) {
            Ok(us) => PullState::Merged(us.div_euclid(1_000_000)),
            Err(error) => {
                let number = answer.number;
                return Err(ForgeError::Lost(format!("pull request {number}: merged_at: {error}")));
            }
        },
        (None, "open") => PullState::Open,
        (None, _) => PullState::Closed,
    };
    let from = from(&answer, repository);
    Ok(Pull {
        number: answer.number,
        url: answer.html_url,
        state,
        branch: answer.head.branch,
        from,
        title: answer.title,
        body: answer.body.unwrap_or_default(),
    })
}

/// Whose a pull request is, by the names that the forge has for both repositories now. A fork that
/// was deleted is known by what stays: the label of its branch, and the author.
fn from(answer: &PullAnswer, repository: &RepoName) -> From {
    let full_name = |side: &Head| side.repo.as_ref().map(|repo| repo.full_name.to_lowercase());
    let (head, base) = (full_name(&answer.head), full_name(&answer.base));
    let owner_of = |name: &str| name.split('/').next().unwrap_or_default().to_lowercase();
    let label = answer.head.label.as_deref().and_then(|label| label.split_once(':'));
    let login = answer.user.as_ref().map(|user| user.login.to_lowercase());
    let fork = repository.fork.as_deref();
    let forked = fork.is_some_and(|fork| match &head {
        // A fork of the same owner is known by its whole name alone.
        Some(head) if owner_of(fork) == owner_of(&repository.owner) => *head == fork.to_lowercase(),
        Some(head) => owner_of(head) == owner_of(fork),
        None => {
            let owner = Some(owner_of(fork));
            label.map(|(owner, _)| owner.to_lowercase()) == owner || login == owner
        }
    });
    match answer.author_association.as_str() {
        _ if forked || (head.is_some() && head == base) => From::Ours,
        "OWNER" | "MEMBER" | "COLLABORATOR" => From::Member,
        _ => From::Stranger,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of whom a pull request is whose branch lies in `head`, for a node that pushes to `fork`.
    fn of(head: Option<&str>, label: &str, login: &str, fork: Option<&str>) -> From {
        let repo = head.map(|name| serde_json::json!({ "full_name": name }));
        let answer = serde_json::json!({
            "number": 1, "html_url": "https://forge/1", "title": "t", "body": null,
            "state": "closed", "merged_at": null, "node_id": "n",
            "user": { "login": login }, "author_association": "NONE",
            "head": { "ref": "b", "repo": repo, "label": label },
            "base": { "ref": "main", "repo": { "full_name": "acme/cluster" } },
        });
        let repository = RepoName {
            api: String::new(),
            owner: "acme".to_owned(),
            name: "cluster".to_owned(),
            base: None,
            fork: fork.map(str::to_owned),
        };
        pull_of(serde_json::from_value(answer).unwrap(), &repository).unwrap().from
    }

    #[test]
    fn a_pull_request_stays_ours_when_its_fork_is_gone() {
        let bob = Some("bob/cluster");
        assert_eq!(of(bob, "bob:b", "bob", bob), From::Ours);
        assert_eq!(of(Some("Bob/renamed"), "Bob:b", "robot", bob), From::Ours);
        assert_eq!(of(None, "bob:b", "robot", bob), From::Ours, "by the label");
        assert_eq!(of(None, "unknown repository", "Bob", bob), From::Ours, "by the author");
        assert_eq!(of(None, "eve:b", "eve", bob), From::Stranger);
        assert_eq!(of(None, "bob:b", "bob", None), From::Stranger);
    }

    #[test]
    fn a_fork_of_the_same_owner_is_not_taken_for_the_repository() {
        let bot = Some("acme/cluster-bot");
        assert_eq!(of(bot, "acme:b", "robot", bot), From::Ours);
        assert_eq!(of(Some("acme/other"), "acme:b", "eve", bot), From::Stranger);
        assert_eq!(of(Some("acme/cluster"), "acme:b", "robot", bot), From::Ours);
    }
}
