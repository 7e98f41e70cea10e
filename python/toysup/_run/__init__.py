"""One run: trained, kept in a file, and continued."""
