"""A page to explore a sweep with: one file of HTML, for any browser."""
