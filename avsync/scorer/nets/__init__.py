"""The networks: what they are made of, their weights, and what runs them (LiteRT or torch)."""
