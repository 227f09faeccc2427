"""From LLVM IR text to an object file, a flat image of it, and its execution."""
