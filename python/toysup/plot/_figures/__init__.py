"""Figures of publications."""
