"""The numpy meaning of ops and Graphs."""
