"""The stream of rows: row n is a function of the seed and n alone, so it can resume anywhere."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Rows are drawn in blocks, each with a generator of its own: to jump to row ten million, one
# block is drawn, not ten million rows.
BLOCK = 8192


def read_iris() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """scikit-learn's iris: measurements in cm, shape (150, 4), and labels 0 to 2, shape (150,).

    Read from the file that `sklearn.datasets.load_iris` reads. To import scikit-learn for it
    would cost two seconds and 140 MB, most of what this program needs otherwise.
    """
    package = find_spec("sklearn")
    assert package is not None, "scikit-learn is one of this part's requirements"
    assert package.origin is not None
    file = Path(package.origin).parent / "datasets" / "data" / "iris.csv"
    table = np.loadtxt(file, delimiter=",", skiprows=1)
    return table[:, :4], table[:, 4].astype(np.int64)


class IrisStream:
    """scikit-learn's iris, drawn with replacement without end.

    Source of the measurements: Fisher (1936), as shipped with scikit-learn: 150 flowers, of
    which two are equal in all measurements.
    """

    def __init__(self, seed: int) -> None:
        self.features, self.labels = read_iris()
        self._seed = seed
        self._block_number = -1
        self._block: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def flowers(self, first: int, count: int) -> NDArray[np.int64]:
        """Which of the 150 flowers the rows `first` to `first + count - 1` are, shape (count,).

        Rows are numbered from 1, like the ids in the table.
        """
        start, end = first - 1, first - 1 + count
        pieces = []
        for number in range(start // BLOCK, (end - 1) // BLOCK + 1):
            block = self._draw(number)
            pieces.append(block[max(start - number * BLOCK, 0) : end - number * BLOCK])
        return np.concatenate(pieces)

    def _draw(self, number: int) -> NDArray[np.int64]:
        if number != self._block_number:
            generator = np.random.default_rng([self._seed, number])
            self._block = generator.integers(len(self.labels), size=BLOCK)
            self._block_number = number
        return self._block
