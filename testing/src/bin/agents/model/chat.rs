//! OpenAI's chat completions, as a stream: what Copilot CLI and OpenCode read.

use serde_json::{Value, json};

use super::{Turn, event};

/// Writes one choice.
pub fn write(turn: &Turn, count: u64) -> String {
    let (delta, reason) = match turn {
        Turn::Call(name, arguments) => {
            let function = json!({"name": name, "arguments": arguments.to_string()});
            let id = format!("call-{count}");
            let call = json!({"index": 0, "id": id, "type": "function", "function": function});
            (json!({"role": "assistant", "tool_calls": [call]}), "tool_calls")
        }
        Turn::Say(text) => (json!({"role": "assistant", "content": text}), "stop"),
    };
    let chunk = |delta: Value, reason: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
        let kind = "chat.completion.chunk";
        let all = json!({
            "id": "c", "object": kind, "model": "stand-in", "created": 1, "choices": [choice],
        });
        event(None, &all)
    };
    let (call, end) = (chunk(delta, Value::Null), chunk(json!({}), json!(reason)));
    format!("{call}{end}data: [DONE]\n\n")
}
