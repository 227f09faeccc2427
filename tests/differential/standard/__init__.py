"""Random models of one to three operators of the standard."""
