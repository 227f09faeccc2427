"""One function per command, for CLI, REST and notebooks."""
