//! OpenAI's responses, as a stream: what Codex CLI reads.

use serde_json::json;

use super::{Turn, typed};

/// Writes a response with one item. A tool whose argument is a text is a custom tool of the API.
pub fn write(turn: &Turn, count: u64) -> String {
    let id = format!("item-{count}");
    let item = match turn {
        Turn::Call(name, arguments) => match arguments.as_str() {
            Some(input) => {
                let kind = "custom_tool_call";
                json!({"type": kind, "id": id, "call_id": id, "name": name, "input": input})
            }
            None => {
                let arguments = arguments.to_string();
                let kind = "function_call";
                let mut call =
                    json!({"type": kind, "id": id, "call_id": id, "arguments": arguments});
                // The tools of a server are in a namespace of their own.
                let server =
                    name.rsplit_once("__").filter(|(server, _)| server.starts_with("mcp__"));
                call["name"] = json!(server.map_or(name.as_str(), |(_, name)| name));
                if let Some((server, _)) = server {
                    call["namespace"] = json!(server);
                }
                call
            }
        },
        Turn::Say(text) => {
            let content = json!([{"type": "output_text", "text": text}]);
            json!({"type": "message", "id": id, "role": "assistant", "content": content})
        }
    };
    let usage = json!({
        "input_tokens": 1, "output_tokens": 1, "total_tokens": 2,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    });
    typed(&[
        json!({"type": "response.created", "response": {"id": "r"}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": item}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
        json!({"type": "response.completed", "response": {"id": "r", "usage": usage}}),
    ])
}
