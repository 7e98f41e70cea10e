"""The store of a sweep: its folder, its runs, and who works on it."""
