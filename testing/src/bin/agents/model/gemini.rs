//! Gemini's API, as a stream: what Gemini CLI reads.

use serde_json::{Value, json};

use super::{Turn, event};

/// Writes one candidate.
pub fn write(turn: &Turn, _count: u64) -> String {
    let part = match turn {
        Turn::Call(name, arguments) => json!({"functionCall": {"name": name, "args": arguments}}),
        Turn::Say(text) => json!({"text": text}),
    };
    event(None, &answer(part))
}

/// The answer to the small model that chooses a model for each prompt.
pub fn routed() -> String {
    let choice = json!({
        "reasoning": "x", "model_choice": "flash",
        "complexity_reasoning": "x", "complexity_score": 1,
    });
    answer(json!({"text": choice.to_string()})).to_string()
}

fn answer(part: Value) -> Value {
    let usage = json!({"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2});
    let content = json!({"role": "model", "parts": [part]});
    let candidate = json!({"content": content, "finishReason": "STOP"});
    json!({"candidates": [candidate], "usageMetadata": usage})
}
