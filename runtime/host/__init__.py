"""Ops that run on the host: their meanings in numpy, which is all that they need."""
