"""Viewers: what each one reports, the offset believed there, and the slow trim that follows from it."""
