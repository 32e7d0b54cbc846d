"""Sources: what a generator makes and when."""
