"""What holds a Program to its rules, and runs it in numpy."""
