"""The backends: what both promise, and which one is used."""
