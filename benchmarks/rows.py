"""The figures of a benchmark as rows of one table, which `all.py` gathers.

A script calls `add_row` for each figure that the table is to have, besides what it prints. Run by
hand it prints as ever; run by `all.py`, rows go to the file that the environment names.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

ROWS_FILE = "BTK_PUNET_BENCHMARK_ROWS"


@dataclass(frozen=True)
class Row:
    """A figure.

    Attributes:
        figure: What it is, with the set or case that it is of.
        value: The number.
        unit: Its unit: ``"times"`` of a ratio, ``"share"`` of 0-1, else as in the text.
        aim: Empty, or what it should be: ``">= 5"``, ``"<= 2.5"``.
        seed: Seed of what it was measured on, if there is one.
        timed: Whether it depends on how fast and how busy the machine is.
    """

    figure: str
    value: float
    unit: str
    aim: str = ""
    seed: int | None = None
    timed: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the value is what it should be; None where there is no aim."""
        if not self.aim:
            return None
        sign, bound = self.aim.split()
        return self.value >= float(bound) if sign == ">=" else self.value <= float(bound)


def add_row(
    figure: str,
    value: float,
    unit: str,
    aim: str = "",
    seed: int | None = None,
    timed: bool = False,
) -> None:
    """Add a figure to the table, if one is gathered (see `Row`)."""
    path = os.environ.get(ROWS_FILE)
    if path:
        added = Row(figure, float(value), unit, aim, seed, timed)
        with Path(path).open("a") as file:
            file.write(json.dumps(asdict(added)) + "\n")


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file."""
    if not path.is_file():
        return []
    return [Row(**json.loads(line)) for line in path.read_text().splitlines()]
