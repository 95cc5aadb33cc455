"""The AI Act and its Guidelines as pure functions."""
