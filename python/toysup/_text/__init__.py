"""How things are said: warnings and the log, tables and pages."""
