"""Records shared with others: signatures over them, keys that are trusted, and what that is worth."""
