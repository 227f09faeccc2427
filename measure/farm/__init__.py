"""Leases, backlog, roster and dispatch of a farm, and the same in virtual time."""
