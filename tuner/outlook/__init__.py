"""What a search is worth before and while it runs: its expected regret, from searches whose end is known."""
