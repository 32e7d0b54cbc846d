"""Matching: which lag fits best, and how much that may be believed."""
