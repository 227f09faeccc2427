"""Graph, Target, Schedule, Program: everything a compiler needs and nothing that measures or searches."""
