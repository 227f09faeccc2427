"""Knobs, Configs and the spaces they span; the codec between a Config and a Schedule."""
