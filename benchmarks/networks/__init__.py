"""The benches of whole networks: numbers, speed of the compiler, joint tuning, answers, ranges, chips."""
