"""The simulator bench: exact folds, speed and ranking, and reference runs of SCALE-Sim, ZigZag and Vela."""
