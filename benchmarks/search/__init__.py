"""The search bench: trials to the optimum of fixed kernels, beside peers; and how the cost model ranks."""
