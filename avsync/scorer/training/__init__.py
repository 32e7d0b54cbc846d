"""How the scorer's weights are made: synthetic speech, synthetic mouths, and the training of the networks."""
