"""Ask several servers in turn, again and again, so that noise hits all of them alike."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from bench.contestants import BATCH_PATH, Contestant, Rows, batch_body
from bench.load import Load, Outcome, ask
from bench.own_model import OwnModel
from bench.servers import Server
from part6.estimator import load_skops
from part6.manifest import SKOPS, read_manifest

BATCH = 256
BATCH_BODIES = 8  # enough different ones


@dataclass(frozen=True)
class Questions:
    """The flowers (150, 4) that are asked about, and the class that scikit-learn gives each."""

    rows: Rows
    classes: list[int]


@dataclass(frozen=True)
class Measured:
    """An outcome, and what it cost the server."""

    outcome: Outcome
    cpu_us: float  # processor time of the server and its children per answer

    def document(self) -> dict[str, object]:
        """The figures as JSON keeps them."""
        return asdict(self.outcome) | {"cpu_us": self.cpu_us}


@dataclass
class Field:
    """The servers that run, and how they are asked."""

    repeat: int
    seconds: float
    warm_up: float
    server_core: int | None
    load_core: int | None
    questions: Questions
    running: dict[str, tuple[Contestant, Server]] = field(default_factory=dict)

    def rounds(
        self, names: Sequence[str], make: Callable[[Contestant], Load]
    ) -> dict[str, list[Measured]]:
        """Ask each of `names` `repeat` times: forwards, backwards, forwards ..."""
        there = [name for name in names if name in self.running]
        found: dict[str, list[Measured]] = {name: [] for name in there}
        for turn in range(self.repeat):
            for name in there if turn % 2 == 0 else reversed(there):
                measured = self._once(name, make)
                found[name].append(measured)
                outcome = measured.outcome
                print(
                    f"{turn + 1}/{self.repeat} {name}: {outcome.per_second:,.0f}/s, "
                    f"p50 {outcome.p50_ms:.3f} ms, p99 {outcome.p99_ms:.3f} ms, "
                    f"CPU {measured.cpu_us:.0f} us per answer, bad {outcome.bad}",
                    file=sys.stderr,
                )
        return found

    def single(self, contestant: Contestant, connections: int) -> Load:
        """One flower per request."""
        rows, classes = self.questions.rows, self.questions.classes
        return Load(
            contestant.port,
            contestant.path,
            [contestant.body([row]) for row in rows],
            [contestant.constant or str(each) for each in classes],
            contestant.pattern,
            connections,
            self.seconds,
            self.warm_up,
        )

    def batch(self, contestant: Contestant, connections: int) -> Load:
        """BATCH flowers per request."""
        rows, classes = self.questions.rows, self.questions.classes
        picked = [
            [(start * 19 + i) % len(rows) for i in range(BATCH)] for start in range(BATCH_BODIES)
        ]
        return Load(
            contestant.port,
            BATCH_PATH,
            [batch_body([rows[i] for i in each]) for each in picked],
            ["".join(str(classes[i]) for i in each) for each in picked],
            contestant.pattern,
            connections,
            self.seconds,
            self.warm_up,
        )

    def _once(self, name: str, make: Callable[[Contestant], Load]) -> Measured:
        contestant, server = self.running[name]
        before = server.cpu_seconds()
        outcome = ask(make(contestant), self.load_core)
        # What a server does later on account of what it was asked, it does before the next's turn.
        server.settle()
        used = server.cpu_seconds() - before
        return Measured(outcome, used / max(outcome.answers, 1) * 1e6)


def questions(model: OwnModel) -> Questions:
    """The 150 flowers of the data set, and what scikit-learn with the registered file says."""
    import numpy as np
    from sklearn.datasets import load_iris

    estimator = load_skops(model.sklearn / read_manifest(model.sklearn).folder / SKOPS)
    rows = np.asarray(load_iris().data)
    return Questions(rows.tolist(), estimator.predict(rows).tolist())
