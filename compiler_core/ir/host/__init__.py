"""Numpy meanings of the ops that run on the host."""
