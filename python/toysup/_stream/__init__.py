"""The sample stream, and what training starts from."""
