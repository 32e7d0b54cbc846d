"""Sweeps: many runs on many processes."""
