"""Network traces: what real networks did, read from the formats people have."""
