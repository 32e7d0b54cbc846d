"""Pytest plugin: scenario files as tests. Nothing is collected yet.

Pytest loads this module wherever avsync is installed, so it imports nothing heavy.
"""
