"""The search itself: samplers, budgets, the loop, and the verbs built on it."""
