"""The simulated accelerator: a timeline of tiles, its energy, its traces, and the Device around them."""
