"""The stream of rows: row n is a function of the seed and n alone, so it can resume anywhere."""

import numpy as np
from numpy.typing import NDArray

# Rows are drawn in blocks, each with a generator of its own: to jump to row ten million, one
# block is drawn, not ten million rows.
BLOCK = 8192


class IrisStream:
    """scikit-learn's iris, drawn with replacement without end.

    Source of the measurements: Fisher (1936), as shipped with scikit-learn: 150 flowers, of
    which two are equal in all measurements.
    """

    def __init__(self, seed: int) -> None:
        from sklearn.datasets import load_iris

        iris = load_iris()
        self.features: NDArray[np.float64] = iris.data  # (150, 4), in cm
        self.labels: NDArray[np.int64] = iris.target  # (150,), 0 to 2
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
