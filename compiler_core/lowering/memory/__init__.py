"""The memory of each value between kernels, and its offset."""
