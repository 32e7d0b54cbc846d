"""Whole blocks in one go on torch, for a GPU."""
