"""A lowered kernel and a Target as tables of integers, for the timeline."""
