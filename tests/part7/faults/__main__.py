"""Run the fault matrix and print it; it takes about a minute.

uv run python -m tests.part7.faults
"""

import logging
import sys
import tempfile
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).parents[3] / "part7-llm-serving"))

from tests.faults import OwnPostgres
from tests.part7.faults.comparison import mismatches
from tests.part7.faults.matrix import try_matrix, write


def main() -> None:
    """Print the tables; the status is 1 if something is not as the rules say."""
    quiet = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=quiet)  # migrations say what they do
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # model servers break off on purpose
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        postgres = OwnPostgres(Path(folder))
        try:
            matrix = try_matrix(postgres.connect)
        finally:
            postgres.remove()
    print(*write(matrix), sep="\n")
    wrong = [each for tried in matrix.tried for each in mismatches(tried)]
    print(*wrong, sep="\n", file=sys.stderr)
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
