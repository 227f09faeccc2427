"""Graph to Graph: simplification, other forms of ops, fusion."""
