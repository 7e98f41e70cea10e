"""Figures and films of the steps of a training."""
