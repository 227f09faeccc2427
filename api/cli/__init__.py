"""The `tune` command, one module a verb."""
