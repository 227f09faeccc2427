"""Uploaded files are read here, in a child process with limits."""
