"""Recordings: every call of an engine and every answer, as JSON lines that replay bit for bit."""
