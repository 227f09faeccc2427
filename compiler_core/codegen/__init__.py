"""From a kernel and its Config to machine code of a CPU: nests, LLVM IR text, objects, flat images."""
