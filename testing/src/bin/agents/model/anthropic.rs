//! Anthropic's messages, as a stream: what Claude Code reads.

use serde_json::{Value, json};

use super::{Turn, typed};

/// Writes a message with one block.
pub fn write(turn: &Turn, count: u64) -> String {
    let (block, delta, reason) = match turn {
        Turn::Call(name, arguments) => (
            json!({"type": "tool_use", "id": id(turn, count), "name": name, "input": {}}),
            json!({"type": "input_json_delta", "partial_json": arguments.to_string()}),
            "tool_use",
        ),
        Turn::Say(text) => (
            json!({"type": "text", "text": ""}),
            json!({"type": "text_delta", "text": text}),
            "end_turn",
        ),
    };
    let usage = json!({"input_tokens": 1, "output_tokens": 1});
    let message = json!({
        "id": id(turn, count), "type": "message", "role": "assistant", "model": "stand-in",
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage,
    });
    typed(&[
        json!({"type": "message_start", "message": message}),
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({
            "type": "message_delta", "usage": {"output_tokens": 1},
            "delta": {"stop_reason": reason, "stop_sequence": null},
        }),
        json!({"type": "message_stop"}),
    ])
}

fn id(turn: &Turn, count: u64) -> Value {
    // An agent may open several connections; an address is no other's.
    json!(format!("id-{count}-{:x}", std::ptr::from_ref(turn).addr()))
}
