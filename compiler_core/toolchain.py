"""The version that timings are comparable under."""

TOOLCHAIN = "1"
"""Changes when the timing semantics of the simulator or the meaning of a Config does; part of every record's key."""
