"""Payload: real speech and faces in a run, for a scorer at the viewer."""
