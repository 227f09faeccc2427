"""Schema, sessions, row conversion and migration."""
