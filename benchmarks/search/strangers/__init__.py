"""Tools that others wrote, as devices of the search bench, and their recorded answers."""
