"""The topological order of kernels: peak memory solved with proofs, and DRAM traffic under a capacity."""
