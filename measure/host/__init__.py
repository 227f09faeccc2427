"""The CPU under us as a Device: compiled here, run in a child process that never loads a compiler."""
