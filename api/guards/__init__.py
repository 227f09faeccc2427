"""Checks before every route: keys, limits, slow senders, the sign-in page."""
