//! Coordination of AI agents.
