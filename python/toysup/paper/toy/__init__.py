"""The classic toy model."""
