"""Benchmarks: fixed workloads, seeds and equal budgets; each returns its figures, goals and rows."""
