"""Files: whole ones, archives of arrays, and the paths that users give."""
