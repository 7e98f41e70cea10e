"""Files: whole ones, and the paths that users give."""
