"""The version of this package, in one place; a test holds it to pyproject's."""

from __future__ import annotations

VERSION = "0.1.0"
