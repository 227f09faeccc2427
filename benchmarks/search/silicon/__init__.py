"""Kernels on a real CPU for the search bench: every row of a part of their space, recorded once."""
