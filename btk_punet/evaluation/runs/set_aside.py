"""What is missing from a run: batches, or methods on batches, that failed time and again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from btk_punet.files import write_json

FAILURES = "failures.json"


@dataclass(frozen=True)
class SetAside:
    """A method that is left out of a batch, or a whole batch.

    Attributes:
        batch: Number of the batch.
        method: Name of the method; None for the whole batch.
        part: What was running.
        error: The error, or how the process ended.
        traceback: Where, as Python prints it, as far as known.
        tries: How often it was tried.
    """

    batch: int
    method: str | None
    part: str
    error: str
    traceback: str = ""
    tries: int = 1

    def __str__(self) -> str:
        what = "" if self.method is None or self.part == self.method else f" of {self.method}"
        return f"Batch {self.batch} failed in {self.part}{what}: {self.error}"


def missing_batches(failures: Iterable[SetAside], methods: Sequence[str]) -> dict[str, list[int]]:
    """Return the numbers of the batches that each method is missing on, for those with any."""
    missing: dict[str, set[int]] = {method: set() for method in methods}
    for failure in failures:
        for method in methods if failure.method is None else [failure.method]:
            missing[method].add(failure.batch)
    return {method: sorted(numbers) for method, numbers in missing.items() if numbers}


def missing_scenes(
    missing: Mapping[str, Sequence[int]], n_blends: int, batch_size: int
) -> dict[str, frozenset[int]]:
    """Return the numbers of the scenes that each method is missing on, for those with any."""
    return {
        method: frozenset(
            scene
            for number in numbers
            for scene in range(number * batch_size, min((number + 1) * batch_size, n_blends))
        )
        for method, numbers in missing.items()
    }


def in_words(missing: Mapping[str, Sequence[int]], n_blends: int, batch_size: int) -> list[str]:
    """Return what is missing from a run, a sentence for each method."""
    n_batches = -(-n_blends // batch_size)
    scenes = missing_scenes(missing, n_blends, batch_size)
    return [
        f"{method} is missing on {len(numbers):,} of {n_batches:,} batches "
        f"({len(scenes[method]):,} of {n_blends:,} scenes)."
        for method, numbers in missing.items()
    ]


def write_failures(output: Path, failures: Sequence[SetAside], seed: int) -> None:
    """Write ``failures.json``, with all that is needed to try them again; none without any."""
    path = output / FAILURES
    if not failures:
        path.unlink(missing_ok=True)
        return
    rows: list[dict[str, Any]] = [{"seed": seed, **asdict(failure)} for failure in failures]
    write_json({"failures": rows}, path)
