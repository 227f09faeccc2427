"""A range of sizes of one dim: which are tuned, and what the others run."""
