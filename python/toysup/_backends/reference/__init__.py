"""The NumPy reference, which defines what is right."""
