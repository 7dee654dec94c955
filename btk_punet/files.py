"""Files written whole or not at all: whatever stops a run, a reader never sees half of one."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def write_file(path: str | Path, content: bytes) -> None:
    """Write a file, and the folders above it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_json(content: dict, path: str | Path) -> None:
    """Write a JSON file."""
    write_file(path, (json.dumps(content, indent=2) + "\n").encode())


def write_parquet(table: pd.DataFrame, path: str | Path) -> None:
    """Write a Parquet file."""
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    write_file(path, content.getvalue())
