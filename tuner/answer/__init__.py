"""From measured kernels to a verified answer and its report."""
