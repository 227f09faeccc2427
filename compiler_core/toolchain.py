"""The version that timings are comparable under."""

TOOLCHAIN = "3"
"""Changes when the simulator's timing semantics or the meaning of a Config does; part of every key."""
