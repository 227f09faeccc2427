"""A whole network as a native library: calls over one arena, a driver in IR, an ELF file, and files for C."""
