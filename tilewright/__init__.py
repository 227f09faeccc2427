"""Tilewright tunes neural networks for AI accelerators, and keeps the answers in a database."""
