"""How things are said: warnings, the log, and pages."""
