"""Which chip for these networks: variants of a target, tuned one after the other."""
