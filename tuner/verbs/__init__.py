"""One function a command: what CLI, REST and notebooks call."""
