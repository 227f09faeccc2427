"""The one error of the runtime."""


class LibraryError(ValueError):
    """A library that cannot be used, or inputs that are not its own; one line that says why."""
