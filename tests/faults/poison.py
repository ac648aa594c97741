"""A representation of a user's own, in a module that worker processes import: some texts end the process."""

import os
import signal
from collections.abc import Sequence

import numpy as np


def lengths(texts: Sequence[str]) -> np.ndarray:
    if any("POISON" in text for text in texts):
        os.kill(os.getpid(), signal.SIGKILL)
    return np.array([[len(text), text.count("e"), 1.0] for text in texts], np.float32)
