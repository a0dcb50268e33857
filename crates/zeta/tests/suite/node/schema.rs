//! GitHub's own published description of its API, as a judge over the fake and over us.
//!
//! The description is OpenAPI 3.0; only the keywords that these operations use are supported.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::fake_github::Exchange;
use super::github_model::{Call, Request};
use crate::support::{skip, test_name};

/// Where `cargo xtask test` puts the description, if this does not say where it is.
const VARIABLE: &str = "ZETA_GITHUB_OPENAPI";

/// Each operation is read only when it is asked about: the whole has 13 MB.
#[derive(Deserialize)]
pub struct Description {
    paths: HashMap<String, Box<RawValue>>,
    components: HashMap<String, HashMap<String, Box<RawValue>>>,
    #[serde(skip)]
    read: RefCell<HashMap<String, Value>>,
}

pub fn place() -> PathBuf {
    std::env::var_os(VARIABLE).map_or_else(
        || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../npm/api.github.com.json"),
        PathBuf::from,
    )
}

/// The description, if it was brought; read once.
pub fn description() -> Option<MutexGuard<'static, Description>> {
    static READ: OnceLock<Option<Mutex<Description>>> = OnceLock::new();
    let read = READ.get_or_init(|| {
        let text = std::fs::read(place()).ok()?;
        Some(Mutex::new(serde_json::from_slice(&text).unwrap()))
    });
    read.as_ref().map(|read| read.lock().unwrap_or_else(PoisonError::into_inner))
}

type Checked = Result<(), String>;

impl Description {
    /// Checks that GitHub's description allows this exchange.
    pub fn check(&self, exchange: &Exchange) -> Checked {
        let Exchange { request, answered, faulty } = exchange;
        if request.call() == Call::Graphql {
            return Ok(()); // the other API has a description of its own kind
        }
        let operation = self.operation(request)?;
        self.check_request(&operation, request).map_err(|why| format!("the request: {why}"))?;
        let Some((status, body)) = answered else { return Ok(()) };
        let responses = &operation["responses"];
        let Some(response) = responses.get(status.to_string()) else {
            let general = matches!(status, 301..=499 | 500..) && *faulty;
            let unlisted = format!("the answer: it has no status {status}");
            // Limits, bad tokens and faults of the server are described for no operation.
            return if general || *status == 404 { Ok(()) } else { Err(unlisted) };
        };
        let response = self.resolved(response)?;
        let schema = &response["content"]["application/json"]["schema"];
        self.fits(schema, body, "").map_err(|why| format!("the answer {status}: {why}"))
    }

    fn operation(&self, request: &Request) -> Result<Value, String> {
        let parts: Vec<&str> = request.path.split('/').collect();
        let fits = |template: &str| {
            let wanted: Vec<&str> = template.split('/').collect();
            // What is last may have several parts: a path, or a ref.
            let long = template.ends_with("/{path}") || template.ends_with("/{ref}");
            let enough =
                if long { parts.len() >= wanted.len() } else { parts.len() == wanted.len() };
            enough && wanted.iter().zip(&parts).all(|(w, p)| w.starts_with('{') || w == p)
        };
        let best = self.paths.keys().filter(|template| fits(template));
        let best = best.min_by_key(|template| template.matches('{').count());
        let template = best.ok_or("GitHub has no such path")?;
        let item: Value = serde_json::from_str(self.paths[template].get()).unwrap();
        let method = request.method.to_lowercase();
        item.get(&method).cloned().ok_or(format!("{template} has no {method}"))
    }

    fn check_request(&self, operation: &Value, request: &Request) -> Checked {
        let mut allowed = Vec::new();
        for parameter in operation["parameters"].as_array().unwrap() {
            let parameter = self.resolved(parameter)?;
            if parameter["in"] != "query" {
                continue;
            }
            let name = parameter["name"].as_str().unwrap().to_owned();
            let given = request.asked(&name);
            if parameter["required"] == true && given.is_none() {
                return Err(format!("{name} is missing"));
            }
            if let Some(given) = given {
                let number = parameter["schema"]["type"] == "integer";
                let value =
                    if number { given.parse().unwrap_or(Value::Null) } else { json!(given) };
                self.fits(&parameter["schema"], &value, &name)?;
            }
            allowed.push(name);
        }
        if let Some((name, _)) = request.query.iter().find(|(name, _)| !allowed.contains(name)) {
            return Err(format!("{name} is not described"));
        }
        if request.header("user-agent").is_none() || request.header("accept").is_none() {
            return Err("GitHub wants to know who asks, and for what".to_owned());
        }
        let Some(body) = operation.get("requestBody") else { return Ok(()) };
        let schema = &body["content"]["application/json"]["schema"];
        for key in request.body.as_object().ok_or("no body")?.keys() {
            if schema["properties"].get(key).is_none() {
                return Err(format!("{key} is not described"));
            }
        }
        self.fits(schema, &request.body, "")
    }

    fn resolved(&self, value: &Value) -> Result<Value, String> {
        let Some(target) = value.get("$ref").and_then(Value::as_str) else {
            return Ok(value.clone());
        };
        if let Some(known) = self.read.borrow().get(target) {
            return Ok(known.clone());
        }
        let mut parts = target.trim_start_matches("#/components/").splitn(2, '/');
        let found = parts.next().and_then(|kind| self.components.get(kind));
        let found = found.zip(parts.next()).and_then(|(kind, name)| kind.get(name));
        let raw = found.ok_or_else(|| format!("{target} is nowhere"))?;
        let read: Value = serde_json::from_str(raw.get()).unwrap();
        self.read.borrow_mut().insert(target.to_owned(), read.clone());
        Ok(read)
    }

    /// Checks a value against a schema; an error names the path.
    pub fn fits(&self, schema: &Value, value: &Value, at: &str) -> Checked {
        let schema = self.resolved(schema)?;
        if value.is_null() && schema["nullable"] == true {
            return Ok(());
        }
        let many = |key: &str| schema.get(key).and_then(Value::as_array);
        for part in many("allOf").into_iter().flatten() {
            self.fits(part, value, at)?;
        }
        for (key, most) in [("anyOf", usize::MAX), ("oneOf", 1)] {
            let Some(parts) = many(key) else { continue };
            let tried: Vec<Checked> = parts.iter().map(|part| self.fits(part, value, at)).collect();
            let fitting = tried.iter().filter(|tried| tried.is_ok()).count();
            if fitting == 0 || fitting > most {
                return Err(format!("{at}: {fitting} of {key} fit: {tried:?}"));
            }
        }
        if many("enum").is_some_and(|known| !known.contains(value)) {
            return Err(format!("{at}: {value} is none of {}", schema["enum"]));
        }
        fits_type(&schema, value, at)?;
        if let Some(object) = value.as_object() {
            for key in many("required").into_iter().flatten().filter_map(Value::as_str) {
                if !object.contains_key(key) {
                    return Err(format!("{at}: {key} is missing"));
                }
            }
            for (key, inner) in object {
                let below = schema["properties"].get(key);
                let below = below.or(schema.get("additionalProperties")).filter(|s| s.is_object());
                if let Some(below) = below {
                    self.fits(below, inner, &format!("{at}.{key}"))?;
                }
            }
        }
        for (index, inner) in value.as_array().into_iter().flatten().enumerate() {
            self.fits(&schema["items"], inner, &format!("{at}[{index}]"))?;
        }
        Ok(())
    }
}

fn fits_type(schema: &Value, value: &Value, at: &str) -> Checked {
    let so = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        _ => true,
    };
    if !so {
        return Err(format!("{at}: {value} is no {}", schema["type"]));
    }
    let Some(text) = value.as_str() else { return Ok(()) };
    let so = match schema["format"].as_str() {
        Some("date-time") => zeta_core::time::parse_utc(text).is_ok(),
        Some("uri") => text.split_once(':').is_some_and(|(scheme, _)| !scheme.contains('/')),
        _ => true,
    };
    if so { Ok(()) } else { Err(format!("{at}: {text:?} is no {}", schema["format"])) }
}

#[test]
fn the_description_is_here_and_refuses_what_does_not_fit() {
    let Some(description) = description() else {
        let why = format!("no description of GitHub's API in {}", place().display());
        let could = std::env::var_os(VARIABLE).is_some()
            && crate::support::is_root()
            && crate::support::can("npm", &["--version"]);
        assert!(!could, "{why}, though npm is here: 'cargo xtask test' brings it");
        return skip(test_name!(), &why);
    };
    let asked = |method: &str, path: &str, query: &[(&str, &str)], body: Value| Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        headers: ["user-agent", "accept"].map(|name| (name.to_owned(), "x".to_owned())).to_vec(),
        body,
    };
    let refused = |request: Request, answered: Option<(u16, Value)>, words: &str| {
        let why = description.check(&Exchange { request, answered, faulty: false }).unwrap_err();
        assert!(why.contains(words), "{why}");
    };
    let pulls = "/repos/a/b/pulls";
    refused(asked("GET", "/repos/a/b/pullz", &[], Value::Null), None, "no such path");
    refused(asked("PUT", pulls, &[], Value::Null), None, "no put");
    refused(asked("GET", pulls, &[("state", "odd")], Value::Null), None, "none of");
    refused(asked("GET", pulls, &[("page", "x")], Value::Null), None, "no \"integer\"");
    refused(asked("GET", pulls, &[("pages", "1")], Value::Null), None, "not described");
    refused(asked("GET", "/search/issues", &[], Value::Null), None, "q is missing");
    let base = json!({ "head": "x", "title": "t" });
    refused(asked("POST", pulls, &[], base), None, "base is missing");
    let ask = || asked("GET", pulls, &[], Value::Null);
    refused(ask(), Some((200, json!([{ "number": 1 }]))), "is missing");
    refused(ask(), Some((200, json!({}))), "no \"array\"");
    refused(ask(), Some((299, json!([]))), "no status 299");
}
