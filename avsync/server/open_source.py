"""Which source a word on the command line names: a clip, a folder, a callable, or the generated face."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

from avsync.errors import InputError
from avsync.server.sources import AvatarSource, CallableSource, ClipSource, FolderSource


def open_source(
    spec: str, *, fps: Fraction | None = None, size: tuple[int, int] | None = None, loop: bool = True
) -> AvatarSource:
    """A clip, a folder of frames, a callable ``module:function``, or with ``""`` the generated face.

    Raises ``InputError`` for what is none of these.
    """
    if not spec:
        from avsync.server.face import FaceSource

        return FaceSource(fps=fps or Fraction(25), size=size, loop=loop)
    path = Path(spec)
    if path.is_dir():
        return FolderSource(path, fps=fps, size=size, loop=loop)
    if path.exists():
        return ClipSource(path, fps=fps, size=size, loop=loop)
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", spec):
        return CallableSource(spec, fps=fps, size=size, loop=loop)
    raise InputError("no such file or folder", file=spec, remedy="a model is given as module:function")
