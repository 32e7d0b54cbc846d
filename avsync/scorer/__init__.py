"""The lip-sync scorer: hears and sees the offset that no timestamp shows."""
