"""The order bench: peak memory, proofs, arenas and traffic of published and synthetic graphs."""
