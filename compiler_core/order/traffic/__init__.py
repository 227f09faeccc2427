"""Orders of least DRAM traffic under a limited LLB, and their bound."""
