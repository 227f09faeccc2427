"""Why an answer is as it is: loop nests, what limits a kernel, its runner-up, and what was not fused."""
