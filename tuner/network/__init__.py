"""The search of a network: plans, prices, groups, layouts, budget."""
