"""How often is the scorer right on real clips, and the bias and confidence set from their development half."""
