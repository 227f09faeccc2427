"""What ops and Graphs compute, in numpy."""
