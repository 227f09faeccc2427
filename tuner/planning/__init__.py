"""The plan of a network: which ops run together, in which form, order, layout and stage."""
