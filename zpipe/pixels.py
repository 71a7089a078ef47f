"""The one name for pictures in memory; refuses everything else that can be said of them (sizes, files, slots)."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""A picture: (height, width, 3), BGR, uint8, any strides."""
