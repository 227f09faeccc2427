"""Demand: what lookups asked for, how often, and what they were served."""
