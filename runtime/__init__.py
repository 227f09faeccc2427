"""Runs libraries that `tune build` made. It needs numpy and nothing else of this project.

from tilewright.runtime import load

network = load("squeezenet")
outputs = network.run({"data": image})
"""

from tilewright.runtime.errors import LibraryError
from tilewright.runtime.library import Library, load
from tilewright.runtime.manifest import Operand

__all__ = ["Library", "LibraryError", "Operand", "load"]
