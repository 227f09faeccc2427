"""Explanations of an answer: loop nests, limits of a kernel, its runner-up, and reasons against fusion."""
