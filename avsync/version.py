"""The version of this package, in one place (a test holds it to pyproject's), and which build of it runs."""

from __future__ import annotations

from avsync import units

VERSION = "0.1.0"

COMPILED = not (units.__file__ or "").endswith(".py")
"""True where the core runs as compiled modules (``AVSYNC_COMPILE=1 pip install``); the answers are the same."""


def spoken() -> str:
    """``avsync 0.1.0 (pure Python)``"""
    return f"avsync {VERSION} ({'compiled' if COMPILED else 'pure Python'})"
