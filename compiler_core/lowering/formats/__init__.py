"""A Program written down: as JSON, and as text for people and golden files."""
