"""Judge: a run's row, its limits, and whether the baselines miss."""
