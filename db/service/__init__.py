"""Rows of the service: accounts, keys, jobs, uploads, workers, audit."""
