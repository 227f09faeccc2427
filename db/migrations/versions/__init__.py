"""One file per schema version that ever landed. A file that has landed never changes."""
