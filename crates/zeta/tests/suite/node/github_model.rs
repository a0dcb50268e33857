//! The parts of GitHub that we use, played on a real bare repository; pull requests are in memory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

pub const OWNER: &str = "forest";
pub const NAME: &str = "trees";
/// Whose fork there may be.
pub const FORKER: &str = "squirrel";

/// Who has no part in the repository, and a fork of it.
pub const STRANGER: &str = "magpie";

/// Which question this is; faults are switched per question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    Repository,
    Contents,
    Ref,
    Pulls,
    Pull,
    Files,
    Search,
    Open,
    Comments,
    Comment,
    Graphql,
    /// Nothing that we play.
    Other,
}

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Request {
    pub fn asked(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub fn header(&self, key: &str) -> Option<&str> {
        self.headers.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The path's parts below the repository.
    fn parts(&self) -> Option<Vec<&str>> {
        let rest = self.path.strip_prefix(&format!("/repos/{OWNER}/{NAME}"))?;
        Some(rest.split('/').skip(1).collect())
    }

    pub fn call(&self) -> Call {
        match (self.method.as_str(), self.path.as_str(), self.parts().as_deref()) {
            ("GET", "/search/issues", _) => Call::Search,
            ("POST", "/graphql", _) => Call::Graphql,
            ("GET", _, Some([])) => Call::Repository,
            ("GET", _, Some(["contents", ..])) => Call::Contents,
            ("GET", _, Some(["git", "ref", ..])) => Call::Ref,
            ("GET", _, Some(["pulls"])) => Call::Pulls,
            ("GET", _, Some(["pulls", _])) => Call::Pull,
            ("GET", _, Some(["pulls", _, "files"])) => Call::Files,
            ("POST", _, Some(["pulls"])) => Call::Open,
            ("GET", _, Some(["issues", _, "comments"])) => Call::Comments,
            ("POST", _, Some(["issues", _, "comments"])) => Call::Comment,
            _ => Call::Other,
        }
    }
}

/// A pull request.
#[derive(Debug, Clone)]
pub struct Row {
    pub number: u64,
    pub owner: String,
    pub branch: String,
    pub title: String,
    pub body: String,
    pub closed: bool,
    pub merged: bool,
    pub armed: bool,
    /// When it was changed last: a count.
    pub updated: u64,
}

pub struct GithubModel {
    git: PathBuf,
    templates: Value,
    pub pulls: Vec<Row>,
    pub comments: Vec<(u64, String)>,
    /// The token may not see the repository.
    pub hidden: bool,
    /// The token may see it, but not what is in it.
    pub sealed: bool,
    pub auto_merge: bool,
    /// The search knows nothing yet.
    pub search_lags: bool,
    pub search_incomplete: bool,
    /// A fork whose owner deleted it: what GitHub tells of its pull requests then.
    pub gone: Option<String>,
}

pub type Answer = (u16, Value);

fn refusal(status: u16, message: &str) -> Answer {
    (status, json!({ "message": message, "documentation_url": "https://docs.github.com/rest" }))
}

fn invalid(message: &str) -> Answer {
    let error = json!({ "resource": "PullRequest", "code": "custom", "message": message });
    let (status, mut answer) = refusal(422, "Validation Failed");
    answer["errors"] = json!([error]);
    (status, answer)
}

const WHEN: &str = "2026-05-19T10:11:12Z";

impl GithubModel {
    /// Where the bare repository is.
    pub fn place(&self) -> &Path {
        &self.git
    }

    /// A bare repository with one commit on `main`.
    pub fn new(dir: &Path) -> GithubModel {
        let git = dir.join("model.git");
        let templates = include_str!("templates/answers.json").parse().unwrap();
        let model = GithubModel {
            git,
            templates,
            pulls: Vec::new(),
            comments: Vec::new(),
            hidden: false,
            sealed: false,
            auto_merge: true,
            search_lags: false,
            search_incomplete: false,
            gone: None,
        };
        let made = Command::new("git")
            .args(["init", "-q", "--bare", "-b", "main"])
            .arg(&model.git)
            .status()
            .unwrap();
        assert!(made.success());
        model.commit("main", "README.md", "a forest\n");
        model
    }

    fn try_git(&self, args: &[&str], input: &str) -> Option<String> {
        use std::io::Write;
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(&self.git).args(args);
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "model");
            command.env(format!("GIT_{who}_EMAIL"), "model@example.org");
        }
        command.env("GIT_INDEX_FILE", self.git.join("model.index"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        out.status.success().then(|| String::from_utf8(out.stdout).unwrap().trim().to_owned())
    }

    fn git(&self, args: &[&str], input: &str) -> String {
        self.try_git(args, input).unwrap_or_else(|| panic!("git {args:?} failed"))
    }

    /// Writes a file on top of a branch, which is made from `main` if it is new.
    pub fn commit(&self, branch: &str, path: &str, text: &str) {
        let blob = self.git(&["hash-object", "-w", "--stdin"], text);
        self.add(branch, &format!("100644,{blob},{path}"));
    }

    /// Puts a module where a file is expected.
    pub fn gitlink(&self, branch: &str, path: &str) {
        self.add(branch, &format!("160000,{},{path}", "1".repeat(40)));
    }

    fn add(&self, branch: &str, entry: &str) {
        let parent = |name: &str| {
            self.try_git(&["rev-parse", "-q", "--verify", &format!("refs/heads/{name}")], "")
        };
        let parent = parent(branch).or_else(|| parent("main"));
        match &parent {
            Some(commit) => self.git(&["read-tree", commit], ""),
            None => self.git(&["read-tree", "--empty"], ""),
        };
        self.git(&["update-index", "--add", "--cacheinfo", entry], "");
        let tree = self.git(&["write-tree"], "");
        let mut args = vec!["commit-tree", &tree, "-m", "a change"];
        if let Some(parent) = &parent {
            args.extend(["-p", parent]);
        }
        let commit = self.git(&args, "");
        self.git(&["update-ref", &format!("refs/heads/{branch}"), &commit], "");
    }

    /// A fork in its current state; only this test may push to the repository itself then.
    pub fn fork(&self) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let fork = self.git.with_file_name("fork.git");
        let mut clone = Command::new("git");
        clone.args(["clone", "-q", "--bare"]).arg(&self.git).arg(&fork);
        assert!(clone.status().unwrap().success());
        let hook = self.git.join("hooks/pre-receive");
        let says =
            "#!/bin/sh\necho 'Permission to forest/trees.git denied to squirrel.' >&2\nexit 1\n";
        std::fs::write(&hook, says).unwrap();
        std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).unwrap();
        fork
    }

    /// Returns the repository that holds an owner's branch.
    fn place_of(owner: &str, branch: &str) -> String {
        if owner == OWNER { format!("refs/heads/{branch}") } else { format!("refs/forks/{branch}") }
    }

    /// What stands in a file of a branch.
    pub fn content(&self, branch: &str, path: &str) -> String {
        self.git(&["cat-file", "blob", &format!("refs/heads/{branch}:{path}")], "") + "\n"
    }

    /// Opens a pull request without the API, as another user would.
    pub fn foreign(&mut self, branch: &str, title: &str, body: &str) -> u64 {
        let number = self.pulls.len() as u64 + 1;
        let (branch, title, body) = (branch.to_owned(), title.to_owned(), body.to_owned());
        let owner = OWNER.to_owned();
        let (closed, merged, armed) = (false, false, false);
        let updated = self.tick();
        let row = Row { number, owner, branch, title, body, closed, merged, armed, updated };
        self.pulls.push(row);
        number
    }

    /// Opens a pull request from a fork of a user without access to the repository.
    pub fn of_stranger(&mut self, branch: &str, title: &str, body: &str) -> u64 {
        let number = self.foreign(branch, title, body);
        STRANGER.clone_into(&mut self.pulls[number as usize - 1].owner);
        number
    }

    pub fn close(&mut self, number: u64) {
        let updated = self.tick();
        let row = &mut self.pulls[number as usize - 1];
        (row.closed, row.updated) = (true, updated);
    }

    fn tick(&self) -> u64 {
        self.pulls.iter().map(|row| row.updated).max().unwrap_or(0) + 1
    }

    /// Merges in the repository, and marks the pull request.
    pub fn merge(&mut self, number: u64) {
        let updated = self.tick();
        let row = &mut self.pulls[number as usize - 1];
        (row.closed, row.merged, row.updated) = (true, true, updated);
        let branch = GithubModel::place_of(&row.owner, &row.branch);
        let tree = self.git(&["merge-tree", "--write-tree", "refs/heads/main", &branch], "");
        let parents = ["-p", "refs/heads/main", "-p", &branch];
        let args = [&["commit-tree", &tree, "-m", "merged"][..], &parents].concat();
        let commit = self.git(&args, "");
        self.git(&["update-ref", "refs/heads/main", &commit], "");
    }

    pub fn answer(&mut self, request: &Request) -> Answer {
        let call = request.call();
        let missing = || refusal(404, "Not Found");
        let content = matches!(call, Call::Contents | Call::Ref);
        if (self.hidden && call != Call::Search) || (self.sealed && content) {
            return missing();
        }
        let parts = request.parts().unwrap_or_default();
        let number = || parts.get(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        match call {
            Call::Repository => (200, self.repository()),
            Call::Contents => self.contents(&parts[1..].join("/"), request.asked("ref")),
            Call::Ref => self.reference(&parts[2..].join("/")),
            Call::Pulls => self.list(request),
            Call::Pull => match self.pulls.iter().find(|row| row.number == number()) {
                Some(row) => {
                    let mut answer = self.pull(row);
                    answer["changed_files"] =
                        json!(self.files(row).1.as_array().map_or(0, Vec::len));
                    (200, answer)
                }
                None => missing(),
            },
            Call::Files => match self.pulls.iter().find(|row| row.number == number()) {
                Some(row) => self.files(row),
                None => missing(),
            },
            Call::Comments => {
                let of = self.comments.iter().filter(|(n, _)| *n == number());
                (200, of.map(|(_, text)| self.comment(text)).collect())
            }
            Call::Search if self.hidden => invalid("The listed repositories cannot be searched"),
            Call::Search => self.search(request.asked("q").unwrap()),
            Call::Open => self.open(&request.body),
            Call::Comment => {
                if !self.pulls.iter().any(|row| row.number == number()) {
                    return missing();
                }
                let text = request.body["body"].as_str().unwrap().to_owned();
                let answer = self.comment(&text);
                self.comments.push((number(), text));
                (201, answer)
            }
            Call::Graphql => self.arm(&request.body),
            Call::Other => missing(),
        }
    }

    fn comment(&self, text: &str) -> Value {
        let mut answer = self.templates["comment"].clone();
        answer["body"] = json!(text);
        answer
    }

    fn files(&self, row: &Row) -> Answer {
        let place = GithubModel::place_of(&row.owner, &row.branch);
        let Some(sha) = self.try_git(&["rev-parse", "-q", "--verify", &place], "") else {
            return (200, json!([])); // a pull request of which only the talk is played
        };
        let range = format!("refs/heads/main...{sha}");
        let said = self.git(&["diff", "--name-status", "--no-renames", &range], "");
        let file = |line: &str| {
            let (kind, name) = line.split_once('\t')?;
            let mut answer = self.templates["pull_file"].clone();
            answer["filename"] = json!(name);
            answer["status"] = json!(match kind {
                "A" => "added",
                "D" => "removed",
                _ => "modified",
            });
            Some(answer)
        };
        (200, said.lines().filter_map(file).collect())
    }

    fn repository(&self) -> Value {
        let mut answer = self.templates["repository"].clone();
        answer["name"] = json!(NAME);
        answer["full_name"] = json!(format!("{OWNER}/{NAME}"));
        answer["default_branch"] = json!("main");
        answer["allow_auto_merge"] = json!(self.auto_merge);
        answer
    }

    fn contents(&self, path: &str, branch: Option<&str>) -> Answer {
        let object = format!("refs/heads/{}:{path}", branch.unwrap_or("main"));
        let Some(sha) = self.try_git(&["rev-parse", "-q", "--verify", &object], "") else {
            return refusal(404, "Not Found");
        };
        let mut answer = self.templates["file"].clone();
        if self.git(&["cat-file", "-t", &sha], "") == "tree" {
            return (200, json!([]));
        }
        answer["sha"] = json!(sha);
        answer["path"] = json!(path);
        answer["name"] = json!(path.rsplit('/').next());
        answer["size"] = json!(self.git(&["cat-file", "-s", &sha], "").parse::<u64>().unwrap());
        (200, answer)
    }

    fn reference(&self, name: &str) -> Answer {
        let full = format!("refs/{name}");
        let Some(sha) = self.try_git(&["rev-parse", "-q", "--verify", &full], "") else {
            return refusal(404, "Not Found");
        };
        let mut answer = self.templates["ref"].clone();
        answer["ref"] = json!(full);
        answer["object"]["sha"] = json!(sha);
        (200, answer)
    }

    fn pull(&self, row: &Row) -> Value {
        let mut answer = self.templates["pull"].clone();
        let page = format!("https://github.com/{OWNER}/{NAME}/pull/{}", row.number);
        for (key, value) in [
            ("number", json!(row.number)),
            ("node_id", json!(format!("PR_{}", row.number))),
            ("html_url", json!(page)),
            ("title", json!(row.title)),
            ("body", json!(row.body)),
            ("state", json!(if row.closed { "closed" } else { "open" })),
            ("closed_at", json!(row.closed.then_some(WHEN))),
            ("merged_at", json!(row.merged.then_some(WHEN))),
            ("merged", json!(row.merged)),
        ] {
            answer[key] = value;
        }
        for (side, branch) in [("head", row.branch.as_str()), ("base", "main")] {
            answer[side]["ref"] = json!(branch);
            let owner = if side == "head" { row.owner.as_str() } else { OWNER };
            answer[side]["label"] = json!(format!("{owner}:{branch}"));
            answer[side]["repo"] = self.repository();
            answer[side]["repo"]["full_name"] = json!(format!("{owner}/{NAME}"));
        }
        if self.gone.as_ref() == Some(&row.owner) {
            answer["head"]["repo"] = Value::Null;
            answer["head"]["label"] = json!("unknown repository");
            answer["author_association"] = json!("NONE");
        }
        if row.owner == STRANGER {
            answer["author_association"] = json!("FIRST_TIME_CONTRIBUTOR");
        }
        if row.armed {
            let by = answer["user"].clone();
            answer["auto_merge"] = json!({
                "enabled_by": by, "merge_method": "merge", "commit_title": "t",
                "commit_message": "m"
            });
        }
        answer
    }

    fn list(&self, request: &Request) -> Answer {
        let state = request.asked("state").unwrap_or("open");
        let wanted = |row: &&Row| {
            let state = state == "all" || (state == "closed") == row.closed;
            let label = format!("{}:{}", row.owner, row.branch);
            state && request.asked("head").is_none_or(|head| head == label)
        };
        let number = |key: &str, or: usize| request.asked(key).map_or(or, |n| n.parse().unwrap());
        let (size, page) = (number("per_page", 30), number("page", 1));
        let mut rows: Vec<&Row> = self.pulls.iter().filter(wanted).collect();
        if request.asked("sort") == Some("updated") {
            rows.sort_by_key(|row| row.updated);
        }
        if request.asked("direction") != Some("asc") {
            rows.reverse();
        }
        let rows = rows.into_iter().skip((page - 1) * size).take(size);
        (200, rows.map(|row| self.pull(row)).collect())
    }

    fn search(&self, query: &str) -> Answer {
        let words: Vec<&str> = query.split(' ').collect();
        assert!(words.contains(&format!("repo:{OWNER}/{NAME}").as_str()), "{query}");
        assert!(words.contains(&"is:pr"), "{query}");
        let matches = |row: &&Row| {
            words.iter().all(|word| {
                if let Some(head) = word.strip_prefix("head:") {
                    row.branch.starts_with(head)
                } else if word.starts_with('"') {
                    let word = word.trim_matches('"');
                    row.title.contains(word) || row.body.contains(word)
                } else {
                    true
                }
            })
        };
        let rows = self.pulls.iter().filter(|_| !self.search_lags).filter(matches);
        let items: Vec<Value> = rows
            .map(|row| {
                let mut item = self.templates["search_item"].clone();
                item["number"] = json!(row.number);
                item["title"] = json!(row.title);
                item["body"] = json!(row.body);
                item["state"] = json!(if row.closed { "closed" } else { "open" });
                item
            })
            .take(100)
            .collect();
        let answer = json!({
            "total_count": items.len(),
            "incomplete_results": self.search_incomplete,
            "search_type": "lexical",
            "items": items,
        });
        (200, answer)
    }

    fn open(&mut self, body: &Value) -> Answer {
        let text = |key: &str| body[key].as_str().unwrap_or_default();
        let head = text("head");
        let (owner, branch) = head.split_once(':').unwrap_or((OWNER, head));
        let place = GithubModel::place_of(owner, branch);
        if owner == FORKER {
            let fork = self.git.with_file_name("fork.git");
            let spec = format!("+refs/heads/{branch}:{place}");
            let _ = self.try_git(&["fetch", "-q", &fork.display().to_string(), &spec], "");
        }
        if self.try_git(&["rev-parse", "-q", "--verify", &place], "").is_none() {
            return invalid("Field head is invalid");
        }
        let same = |row: &&Row| !row.closed && row.branch == branch && row.owner == owner;
        if self.pulls.iter().any(|row| same(&row)) {
            return invalid(&format!("A pull request already exists for {owner}:{branch}."));
        }
        let range = format!("refs/heads/{}..{place}", text("base"));
        if self.git(&["rev-list", "--count", &range], "") == "0" {
            return invalid(&format!("No commits between {} and {branch}", text("base")));
        }
        let number = self.foreign(branch, text("title"), text("body"));
        let row = &mut self.pulls[number as usize - 1];
        owner.clone_into(&mut row.owner);
        let row = row.clone();
        (201, self.pull(&row))
    }

    fn arm(&mut self, body: &Value) -> Answer {
        assert!(body["query"].as_str().unwrap().contains("enablePullRequestAutoMerge"));
        let id = body["variables"]["id"].as_str().unwrap_or_default();
        let number = id.strip_prefix("PR_").and_then(|n| n.parse::<u64>().ok());
        let row = self.pulls.iter_mut().find(|row| Some(row.number) == number);
        let error = |kind: &str, message: &str| {
            let error = json!({ "type": kind, "message": message });
            let field = json!({ "enablePullRequestAutoMerge": null });
            (200, json!({ "data": field, "errors": [error] }))
        };
        match row {
            None => error("NOT_FOUND", "Could not resolve to a node with that global id"),
            Some(_) if !self.auto_merge => {
                error("UNPROCESSABLE", "Pull request Auto merge is not allowed for this repository")
            }
            Some(row) => {
                row.armed = true;
                let done = json!({ "clientMutationId": null });
                (200, json!({ "data": { "enablePullRequestAutoMerge": done } }))
            }
        }
    }
}
