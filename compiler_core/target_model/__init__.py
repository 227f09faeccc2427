"""Targets: the file, its schema and rules, units and their bounds."""
