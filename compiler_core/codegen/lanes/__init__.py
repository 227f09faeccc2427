"""Arithmetic on the lanes of a vector: instructions, functions, the ops of the op table."""
