"""Control flow: branches, loops and maps, entered by the walk."""
