"""The folder of a training run: its configuration, log, checkpoint, curves and weights."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from btk_punet.errors import RunExistsError
from btk_punet.files import write_file, write_json
from btk_punet.folder_lock import LOCK_FILE
from btk_punet.training.config import TRAINING_FILE, TrainingConfig

if TYPE_CHECKING:
    from btk_punet.model.proba_unet import ProbaUNet

LOG_FILE, CHECKPOINT_FILE, MODEL_FOLDER = "log.csv", "checkpoint.npz", "model"
BANK_FILE = "bank.npz"
LOSSES_FILE, PREDICTIONS_FILE = "losses.png", "predictions.png"
_RESULTS = (LOG_FILE, CHECKPOINT_FILE, BANK_FILE, LOSSES_FILE, PREDICTIONS_FILE)
# The falling loss is noisy: a smaller change than this is none [nats a pixel].
SMALLEST_GAIN = 1e-5


class TrainingRun:
    """A folder that holds one training run.

    ``training.json`` is the configuration and the state of the run, ``log.csv`` a row for each
    report, ``checkpoint.npz`` all that the run needs to go on, ``losses.png`` and
    ``predictions.png`` what it does, and ``model/`` the weights when it is done. Each is written
    whole or not at all, so a run may be killed at any time.

    Args:
        folder: The folder, made by `begin` if it does not exist.
        config: The choices of the run.
        overwrite: Whether to throw away another run in this folder.

    Raises:
        RunExistsError: if the folder holds another run, or files that are not of a run.
    """

    def __init__(self, folder: str | Path, config: TrainingConfig, overwrite: bool = False):
        self.folder, self.config = Path(folder), config
        before = self._before(overwrite)
        self._new = before is None
        self.description = before or {}
        self.checkpoint = None if self._new else self._read_checkpoint()
        self.log = self._read_log()

    @property
    def finished(self) -> bool:
        """Whether training is done and the weights are there."""
        done = self.description.get("status") == "finished"
        return done and (self.folder / MODEL_FOLDER).is_dir()

    def begin(self, **entries: Any) -> None:
        """Take the folder, and throw away the run that is there if another is to begin.

        Not when the object is made: choices that turn out wrong must leave the folder as it is.
        """
        if self._new:
            shutil.rmtree(self.folder / MODEL_FOLDER, ignore_errors=True)
            # The description last: without it the rest would be taken for somebody else's.
            for name in (*_RESULTS, TRAINING_FILE):
                (self.folder / name).unlink(missing_ok=True)
            self._new = False
        self.describe(status="running", **entries)

    def describe(self, **entries: Any) -> None:
        """Add entries to ``training.json``."""
        path = self.folder / TRAINING_FILE
        before = self._read() if path.is_file() else {}
        self.description = {**before, "config": self.config.to_dict(), **entries}
        write_json(self.description, path)

    def report(self, row: dict[str, Any], state: dict[str, Any]) -> None:
        """Add a row to the log, and write the checkpoint that goes with it."""
        self.log = pd.concat([self.log, pd.DataFrame([row])], ignore_index=True)
        # The checkpoint second: a log that is a row ahead of it is cut when it is read.
        write_file(self.folder / LOG_FILE, self.log.to_csv(index=False).encode())
        content = io.BytesIO()
        np.savez(content, **state)  # type: ignore[arg-type]
        write_file(self.folder / CHECKPOINT_FILE, content.getvalue())

    def stalled(self, patience: int) -> str:
        """Return why training should stop early, or nothing."""
        if patience == 0 or len(self.log) <= patience:
            return ""
        losses = self.log["val_loss"].to_numpy()
        if losses[-patience:].min() < losses[:-patience].min() - SMALLEST_GAIN:
            return ""
        return f"the loss on held-out stamps has not fallen for {patience} reports"

    def draw(self, network: ProbaUNet, stamps: dict[str, np.ndarray]) -> None:
        """Draw the curves of the log, and the network's predictions for the first stamps."""
        # Here and not above: only drawing needs matplotlib.
        from btk_punet.figures import write_figure
        from btk_punet.training.display import PredictionDisplay, TrainingDisplay

        for display, name in (
            (TrainingDisplay(self.log), LOSSES_FILE),
            (PredictionDisplay.from_network(network, stamps), PREDICTIONS_FILE),
        ):
            write_figure(display.plot, display.size_inches, self.folder / name)

    def _before(self, overwrite: bool) -> dict[str, Any] | None:
        # The run to go on with, None if there is none.
        if self.folder.exists() and not self.folder.is_dir():
            raise RunExistsError(f"'{self.folder}' is a file: give the path of a folder.")
        if not (self.folder / TRAINING_FILE).is_file():
            # A killed process may leave half of a file, under a name that is nobody's, and a lock.
            files = self.folder.iterdir() if self.folder.exists() else ()
            if any(path.suffix != ".part" and path.name != LOCK_FILE for path in files):
                raise RunExistsError(
                    f"'{self.folder}' is not empty and holds no training run: choose another "
                    "output folder."
                )
            return None
        before, now = self._read(), self.config.to_dict()
        # A choice that there was not yet has its default.
        earlier = TrainingConfig.from_dict(before["config"]).to_dict()
        if _comparable(earlier) == _comparable(now) and not overwrite:
            return before
        if not overwrite:
            old = earlier
            differences = [
                f"{name}: {json.dumps(old.get(name))} there, {json.dumps(value)} now"
                for name, value in now.items()
                if old.get(name) != value
            ]
            raise RunExistsError(
                f"'{self.folder}' holds another training run ({'; '.join(differences[:5])}). "
                "Choose another output folder, or overwrite=True (--overwrite) to throw that run "
                "away."
            )
        return None

    def _read(self) -> dict[str, Any]:
        path = self.folder / TRAINING_FILE
        try:
            description = json.loads(path.read_text())
            if not (isinstance(description, dict) and isinstance(description.get("config"), dict)):
                raise ValueError("it holds no 'config'")
            return description
        except ValueError as error:
            raise RunExistsError(
                f"'{path}' is not the JSON file of a training run ({error}): choose another output "
                "folder."
            ) from error

    def _read_checkpoint(self) -> dict[str, np.ndarray] | None:
        path = self.folder / CHECKPOINT_FILE
        if not path.is_file():
            return None
        try:
            # Opened here, because NumPy leaves a file that it cannot read open.
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                state = dict(arrays)
            int(state["step"])
            return state
        except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise RunExistsError(
                f"'{path}' is damaged ({error}): remove it to train from nothing, or choose "
                "another output folder."
            ) from error

    def _read_log(self) -> pd.DataFrame:
        path = self.folder / LOG_FILE
        if self.checkpoint is None or not path.is_file():
            return pd.DataFrame()
        try:
            # Not every version of pandas reads numbers to the last bit, so Python does.
            text = pd.read_csv(path, dtype=str, keep_default_na=False)
            log = pd.DataFrame({name: list(map(_value, column)) for name, column in text.items()})
            return log[log["step"] <= int(self.checkpoint["step"])].reset_index(drop=True)
        except (ValueError, KeyError, TypeError) as error:
            raise RunExistsError(
                f"'{path}' is damaged ({error}): remove it to go on without the rows that were "
                "there, or choose another output folder."
            ) from error


def _comparable(config: dict[str, Any]) -> dict[str, Any]:
    """Return choices without the place of a file, which may differ from machine to machine."""
    path = config["real_galaxies"]
    return config | {"real_galaxies": path and Path(path).name}


def _value(text: str) -> int | float | str:
    """Return what a cell of a CSV file holds: a number where it is one, NaN where it is empty."""
    for kind in (int, float):
        try:
            return kind(text or "nan")
        except ValueError:
            pass
    return text
