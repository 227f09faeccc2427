"""Thin shells over the verbs: the `tune` command and the REST service."""
