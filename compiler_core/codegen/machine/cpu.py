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

    @property
    def fuses(self) -> bool:
        """Whether a multiplication and an addition are one instruction, rounded once."""
        return not self.triple.startswith("x86_64") or "+fma" in self.features.split(",")

    def lanes(self, bits: int) -> int:
        """Elements of so many bits in a vector."""
        return max(1, self.vector_bits // bits)
