"""Features: sound and pictures as numbers on one grid of 20 ms cells."""
