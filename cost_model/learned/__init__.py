"""Models learned from measurements: residuals, feasibility, and scores of a ranking."""
