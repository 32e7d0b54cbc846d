"""The glass probe: the offset where a viewer sees and hears it, in a real Chromium (`avsync glass`)."""
