"""Records as files: JSON Lines and T4, in and out; merging, the compile-time export, backup."""
