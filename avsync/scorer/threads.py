"""One thread for all that multiplies matrices: networks this small only wait for each other's threads.

On a machine with other work fused took more than six times as long with torch's own number of threads, and numpy's
idle ones spin: of two cores they took 30 % of a clip's time.
"""

from __future__ import annotations

import importlib.util
import sys

from threadpoolctl import threadpool_limits


def keep_to_one_thread(*, load: bool = False) -> None:
    """For the whole process and from now on. torch is told if it is loaded; `load`: and loaded, if it is installed."""
    if sys.modules.get("torch") is not None or (load and importlib.util.find_spec("torch")):
        import torch

        torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")
    if sys.modules.get("cv2") is not None:
        import cv2

        cv2.setNumThreads(1)
