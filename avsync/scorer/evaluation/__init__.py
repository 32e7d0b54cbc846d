"""How often is the scorer right on real clips, and the zero and confidence set from their development half."""
