"""The farm bench: how busy workers are, what dies or lies and is caught; in processes and in virtual time."""
