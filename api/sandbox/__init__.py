"""Files that somebody sent are read here, in a child process with limits."""
