"""Types of arrays that several floors share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CSR", "Array"]

Array = npt.NDArray[np.floating[Any]]
CSR = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float64]]
