"""Model files as they lie on a disk: read, the files beside them, written again with notes."""
