"""Layers of answers: the user's database, then servers, files and the bank that ship with others."""
