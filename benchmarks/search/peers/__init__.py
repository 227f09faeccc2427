"""Other tuners on the same tasks, under the same rules, for the search bench."""
