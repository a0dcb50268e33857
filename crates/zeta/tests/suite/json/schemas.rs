//! The schemas themselves: one for each command, sound, and the same words in all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::exported;

/// Schemas that belong to no command.
const GENERAL: [&str; 7] = [
    "error",
    "file install-manifest",
    "file persona",
    "file posts",
    "file repair-policy",
    "mcp",
    "warning",
];

/// All commands: nouns without verbs, and verbs with their noun.
fn commands() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let root = zeta::cli::command();
    for noun in root.get_subcommands() {
        let verbs: Vec<&str> = noun.get_subcommands().map(|verb| verb.get_name()).collect();
        match verbs.is_empty() {
            true => names.extend([noun.get_name().to_owned()]),
            false => names.extend(verbs.iter().map(|verb| format!("{} {verb}", noun.get_name()))),
        }
    }
    names
}

#[test]
fn each_command_has_a_schema_and_each_schema_a_command() {
    let general = GENERAL.map(str::to_owned);
    let wanted: BTreeSet<String> = commands().into_iter().chain(general).collect();
    let have: BTreeSet<String> = exported().keys().cloned().collect();
    assert_eq!(have, wanted, "left: zeta schema, right: the command line");
}

#[test]
fn each_file_is_exported() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let files: BTreeSet<String> = names.map(|name| name.into_string().unwrap()).collect();
    let file_of = |name: &String| format!("{}.json", name.replace(' ', "-"));
    assert_eq!(files, exported().keys().map(file_of).collect());
}

#[test]
fn each_schema_is_one_of_the_draft_and_has_the_name_of_its_command() {
    for (name, schema) in exported() {
        assert!(jsonschema::meta::is_valid(schema), "{name}");
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        assert_eq!(schema["title"], format!("zeta {name}"));
        assert!(schema["description"].is_string(), "{name}");
    }
}

/// Calls `see` with each schema inside a schema and with its place.
fn each_part(schema: &Value, place: &str, see: &mut dyn FnMut(&Value, &str)) {
    see(schema, place);
    for key in ["properties", "$defs", "patternProperties"] {
        for (name, part) in schema.get(key).and_then(Value::as_object).into_iter().flatten() {
            each_part(part, &format!("{place}/{key}/{name}"), see);
        }
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        for part in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
            each_part(part, place, see);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(part) = schema.get(key).filter(|part| part.is_object()) {
            each_part(part, &format!("{place}/{key}"), see);
        }
    }
}

#[test]
fn each_property_is_described_and_each_object_says_whether_it_is_closed() {
    let mut wrong = Vec::new();
    for (name, schema) in exported() {
        each_part(schema, name, &mut |part, place| {
            for (key, property) in part["properties"].as_object().into_iter().flatten() {
                if !property["description"].is_string() {
                    wrong.push(format!("{place}: {key} has no description"));
                }
            }
            let Some(properties) = part["properties"].as_object() else { return };
            if part.get("additionalProperties").is_none() {
                wrong.push(format!("{place}: is it closed?"));
            }
            for key in part["required"].as_array().into_iter().flatten() {
                if !properties.contains_key(key.as_str().unwrap()) {
                    wrong.push(format!("{place}: {key} is required and not described"));
                }
            }
        });
    }
    assert_eq!(wrong, [""; 0]);
}

/// A schema can be used alone, so what several need is written in each; it must stay the same.
#[test]
fn a_definition_means_the_same_in_all_schemas() {
    let mut seen: BTreeMap<String, (Value, String)> = BTreeMap::new();
    for (name, schema) in exported() {
        for (key, definition) in schema["$defs"].as_object().into_iter().flatten() {
            let first = seen.entry(key.clone()).or_insert((definition.clone(), name.clone()));
            assert_eq!(&first.0, definition, "{key:?} of {} and of {name}", first.1);
        }
    }
    assert!(seen.contains_key("error"), "{:?}", seen.keys());
}
