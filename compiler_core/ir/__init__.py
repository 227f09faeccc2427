"""The Graph: types, dims, structured ops, index maps, digests, workloads."""
