"""The search of one kernel: samplers, model, proposals, stop rule."""
