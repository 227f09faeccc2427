"""The versions that timings are comparable under."""

from importlib.metadata import version

TOOLCHAIN = "3"
"""Changes when the simulator's timing semantics or the meaning of a Config does; part of every key."""
NATIVE = "1"
"""Changes when the code that is made of a Config for a CPU does."""


def native_toolchain() -> str:
    """The toolchain of machine code: our generator, and LLVM's version."""
    return f"native-{NATIVE}-llvmlite-{version('llvmlite')}"


def built_in_toolchains() -> tuple[str, ...]:
    """Today's of the devices that need no name: the simulated accelerators and the host."""
    return TOOLCHAIN, native_toolchain()
