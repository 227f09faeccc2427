"""A range of sizes of one dim: the tuned sizes, and the Configs of the others."""
