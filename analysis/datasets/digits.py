"""Handwritten digits that come with scikit-learn: 1,797 scans of 8×8 pixels in 17 shades of grey, 10 classes.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998),
doi:10.24432/C50P49; the test part of it, as shipped by scikit-learn. Licence: CC BY 4.0.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from ..errors import InvalidRequest
from .base import Dataset


class Digits(Dataset):
    """Shades 0…16 become 0…255, the same in red, green and blue."""

    name = "digits"
    licence = "CC BY 4.0"

    def load(self) -> tuple[np.ndarray, dict[str, tuple[tuple[str, ...], np.ndarray]]]:
        if self.argument:
            raise InvalidRequest(f"'digits' takes nothing after a colon; {self.argument!r} was given.")
        grey, values = load_digits(return_X_y=True)
        images = np.rint(grey * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1).repeat(3, axis=-1)
        return images, {"digit": (tuple("0123456789"), values.astype(np.int64))}


plugin = Digits
