"""Recordings: what an engine was told and answered, as JSON lines that replay bit for bit."""
