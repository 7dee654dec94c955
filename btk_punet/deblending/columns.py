"""What is known of some sources, a column for each quantity."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np

_Columns = TypeVar("_Columns", bound="Columns")


@dataclass(frozen=True)
class Columns:
    """Base of dataclasses whose attributes are arrays of one length, an entry for each source."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def take(self: _Columns, rows: np.ndarray | slice) -> _Columns:
        """Return some of the sources."""
        return type(self)(*(getattr(self, column.name)[rows] for column in fields(self)))
