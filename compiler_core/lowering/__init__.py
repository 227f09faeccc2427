"""From Graph and Schedule to a Program."""
