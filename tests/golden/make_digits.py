"""Writes digits.npz: scikit-learn's handwritten digits, 1,797 pictures of 8x8, grey values 0 to 16.

In an environment with scikit-learn, whose file is read as it is: 65 columns, a picture and its
digit.  They are the test set of "Optical Recognition of Handwritten Digits", E. Alpaydin and
C. Kaynak, UCI Machine Learning Repository (1998), CC BY 4.0.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sklearn = Path(find_spec("sklearn").origin).parent
    rows = np.loadtxt(sklearn / "datasets/data/digits.csv.gz", delimiter=",", dtype=np.uint8)
    images = rows[:, :64].reshape(-1, 8, 8)
    np.savez_compressed(Path(__file__).with_name("digits.npz"), images=images, labels=rows[:, 64])
