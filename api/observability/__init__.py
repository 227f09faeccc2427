"""Logs, metrics and request records of the service."""
