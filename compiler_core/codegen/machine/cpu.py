"""A CPU as the generator sees it. A compiler's process loads this file and LLVM, and no library of arrays."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """A CPU for the generator: LLVM's names for it, bits and number of its vector registers."""

    triple: str
    cpu: str
    features: str
    vector_bits: int
    registers: int

    def lanes(self, bits: int) -> int:
        """Elements of so many bits in a vector."""
        return max(1, self.vector_bits // bits)
