"""What is learned from measurements: residuals, feasibility, and how good a ranking is."""
