"""The version of the Python files; the Rust workspace and the citation carry the same number."""

__version__ = "0.1.0"
