"""Truth: what a viewer saw and heard, which only a simulation knows, and the measures of it."""
