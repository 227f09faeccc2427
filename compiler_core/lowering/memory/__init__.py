"""Which memory a value lies in between kernels, and at which offset."""
