"""The worth of a search before and while it runs: its expected regret, from searches whose end is known."""
