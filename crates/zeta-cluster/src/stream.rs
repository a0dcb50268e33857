//! The streams of the cluster: their settings, and how those of another program differ.

use serde_json::{Value, json};

use zeta_core::cluster::subject::{LIVE, MAJOR, Stream};

const MIB: u64 = 1 << 20;
/// Most bytes of one message with its headers: the longest record has 64 KiB.
const MESSAGE_MAX: u64 = 80 * 1024;
/// How long messages of the bus are kept, in hours: the longest life of one is a day.
const BUS_HOURS: u64 = 25;
/// JetStream's own unit of time.
const NS_PER_SECOND: u64 = 1_000_000_000;

/// All streams, in the order in which they are created: where the last one has its record, the
/// others were complete.
pub(crate) const ALL: [Stream; 4] = [Stream::State, Stream::Bus, Stream::Lease, Stream::Meta];

/// Settings that an older server drops in silence, and without which everything works.
const OPTIONAL: [&str; 1] = ["allow_msg_ttl"];

/// The settings of a stream. A server that returns others has another stream, or is too old.
pub(crate) fn settings(stream: Stream, replicas: u64) -> Value {
    let room = match stream {
        Stream::State | Stream::Bus => 256 * MIB,
        Stream::Lease => 64 * MIB,
        Stream::Meta => MIB,
    };
    let (per_subject, hours) = if stream == Stream::Bus { (-1, BUS_HOURS) } else { (1, 0) };
    json!({
        "name": stream.name(),
        "subjects": [stream.pattern()],
        "num_replicas": replicas,
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_msgs": -1,
        "max_msgs_per_subject": per_subject,
        "max_bytes": room,
        "max_age": hours * 3600 * NS_PER_SECOND,
        "max_msg_size": MESSAGE_MAX,
        "max_consumers": -1,
        "duplicate_window": 120 * NS_PER_SECOND,
        // With it, a node could remove all subjects by one message on its own.
        "allow_rollup_hdrs": false,
        "deny_delete": false,
        "deny_purge": false,
        "sealed": false,
        "no_ack": false,
        "allow_direct": true,
        "allow_msg_ttl": matches!(stream, Stream::State | Stream::Lease),
        // One rule for all streams: a server takes no '*' on both sides.
        "republish": { "src": format!("{MAJOR}.>"), "dest": format!("{LIVE}>") },
        "mirror": null,
        "sources": null,
        "subject_transform": null,
    })
}

/// Returns the settings as a request that creates a stream: the numbers of a stream that was
/// created again are higher than the old ones (servers before 2.10 begin with 1).
pub(crate) fn request(settings: &Value, now_us: i64) -> Value {
    let mut request = settings.clone();
    if let Value::Object(map) = &mut request {
        map.retain(|_, value| !value.is_null());
        map.insert("first_seq".to_owned(), now_us.max(1).into());
    }
    request
}

/// Lists how the settings that a server returned differ from these, for people.
pub(crate) fn differences(wanted: &Value, found: &Value) -> Vec<String> {
    let Some(wanted) = wanted.as_object() else { return Vec::new() };
    let differs = |(key, wanted): (&String, &Value)| {
        let found = found.get(key).unwrap_or(&Value::Null);
        let dropped = OPTIONAL.contains(&key.as_str()) && is_empty(found);
        let same = found == wanted || is_empty(found) && is_empty(wanted);
        (!same && !dropped).then(|| match is_empty(found) {
            true => format!("{key} is not set, where {wanted} is needed"),
            false => format!("{key} is {found}, where {wanted} is needed"),
        })
    };
    wanted.iter().filter_map(differs).collect()
}

/// Reports whether a server may leave the value out: it is that of a setting that is not there.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_counts_and_each_addition_of_a_server_does_not() {
        for stream in ALL {
            let (name, wanted) = (stream.name(), settings(stream, 3));
            let mut found = request(&wanted, 7);
            found["metadata"] = json!({ "_nats.level": "1" });
            assert_eq!(differences(&wanted, &found), [""; 0], "{name}");
            for key in wanted.as_object().unwrap().keys() {
                let mut other = found.clone();
                other[key] = json!("other");
                let differences = differences(&wanted, &other);
                assert_eq!(differences.len(), 1, "{name}, {key}");
                assert!(differences[0].starts_with(key.as_str()), "{differences:?}");
            }
        }
    }

    #[test]
    fn an_older_server_may_drop_only_what_is_optional() {
        let wanted = settings(Stream::State, 1);
        for (key, count) in [("allow_msg_ttl", 0), ("republish", 1), ("allow_direct", 1)] {
            let mut found = request(&wanted, 7);
            found.as_object_mut().unwrap().remove(key);
            assert_eq!(differences(&wanted, &found).len(), count, "{key}");
        }
        // And what is left out is the same as off, or as nothing.
        let mut found = request(&wanted, 7);
        for key in ["sealed", "max_age", "allow_rollup_hdrs"] {
            found.as_object_mut().unwrap().remove(key);
        }
        assert_eq!(differences(&wanted, &found), [""; 0]);
    }
}
