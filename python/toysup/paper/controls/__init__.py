"""Controls of what the paper says, and their verdicts."""
