"""Starts another of our programs from a program of ours."""

import os
import sys

import musterd


def program(module: str, *args: str) -> list[str]:
    """The command for `main` of a module: with our own modules, wherever they are installed."""
    library = os.path.dirname(os.path.dirname(os.path.abspath(musterd.__file__)))
    code = f"import sys; sys.path.insert(0, {library!r}); from {module} import main; sys.exit(main())"
    return [sys.executable, "-c", code, *args]
