"""A run: generator, engines, links and receivers in virtual time."""
