"""Training of the scorer's networks on synthetic speech and procedural mouths."""
