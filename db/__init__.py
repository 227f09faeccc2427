"""The search database: append-only trials, the best derived from them, lookup at compile time."""
