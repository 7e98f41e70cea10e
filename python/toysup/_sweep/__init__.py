"""Sweeps: planned, carried out, and what they give."""
