"""A run in parts, for those without Dask: each part into a folder of its own, then put together."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from btk_punet.errors import InputError, RunExistsError
from btk_punet.evaluation.runs.batches import DamagedBatchError, batch_folder, read_summary
from btk_punet.evaluation.runs.engine import BATCHES, MERGED, run_hash
from btk_punet.evaluation.runs.folder import read_run
from btk_punet.evaluation.runs.options import Running
from btk_punet.files import write_file, write_json
from btk_punet.folder_lock import LOCK_FILE, locked
from btk_punet.output import output_folder


def merge_shards(output: str | Path, shards: Sequence[str | Path]) -> dict:
    """Put the batches of the shards of a run into one folder, as those of a run that was stopped.

    The call of `compare` (or `selection_function`) that made the shards, without ``shard`` and on
    this folder, then finishes the run: it checks the hash of each table, joins them, and writes the
    report. It ends with the same tables, bit for bit, as a run in one part.

    Args:
        output: Folder to be made.
        shards: Folders of the shards, all of them, in any order.

    Returns:
        What is in ``run.json``.

    Raises:
        InputError: if the folders do not hold all shards of one run, each done.
        RunExistsError: if the output folder holds anything but what a merge that was stopped left.
    """
    output = output_folder(output, (BATCHES,))
    runs = _checked([Path(shard) for shard in shards])
    first = next(iter(runs.values()))
    run = {k: v for k, v in first.items() if k not in ("shard", "incomplete")}
    run["status"] = "running"
    before = read_run(output)
    if output.exists() and any(path.name != LOCK_FILE for path in output.iterdir()):
        if before is None or before.get("status") != "running" or run_hash(before) != run_hash(run):
            raise RunExistsError(
                f"'{output}' is not empty: choose another folder for what the shards are put into."
            )
    with locked(output / LOCK_FILE):
        write_json(run, output / "run.json")
        write_file(output / BATCHES / MERGED, b"")
        for folder, of_shard in runs.items():
            for number in _numbers(of_shard):
                source = batch_folder(folder / BATCHES, number)
                target = batch_folder(output / BATCHES, number)
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(source, target)
    return run


def _checked(folders: Sequence[Path]) -> dict[Path, dict]:
    """Return what is in the ``run.json`` of each shard, after checking that they make a run."""
    if not folders:
        raise InputError("No shards given: expected the folders of all shards of a run.")
    runs: dict[Path, dict] = {}
    for folder in folders:
        run = read_run(folder)
        if run is None or run.get("shard") is None:
            raise InputError(f"'{folder}' holds no shard: give folders made with --shard I/N.")
        if run.get("status") != "shard":
            raise InputError(
                f"The shard in '{folder}' is not done (status {run.get('status')!r}): run its "
                "command again to finish it."
            )
        runs[folder] = run
    hashes = {folder: run_hash(run) for folder, run in runs.items()}
    others = [folder for folder in folders if hashes[folder] != hashes[folders[0]]]
    if others:
        raise InputError(
            f"'{others[0]}' holds a shard of another run than '{folders[0]}': give shards made "
            "with the same options, but for --shard and --output."
        )
    names = [run["shard"] for run in runs.values()]
    n_parts = names[0].partition("/")[2]
    expected = [f"{part}/{n_parts}" for part in range(1, int(n_parts) + 1)]
    if sorted(names) != sorted(expected):
        missing = [name for name in expected if name not in names]
        what = f"{', '.join(missing)} missing" if missing else f"got {', '.join(sorted(names))}"
        raise InputError(
            f"Expected the shards 1/{n_parts} to {n_parts}/{n_parts}, each once: {what}."
        )
    for folder, run in runs.items():
        for number in _numbers(run):
            try:
                summary = read_summary(folder / BATCHES, number, hashes[folder])
            except DamagedBatchError as error:
                raise InputError(
                    f"Batch {number} of the shard in '{folder}' is damaged ({error}): run its "
                    "command again."
                ) from error
            if summary is None:
                raise InputError(
                    f"Batch {number} of the shard in '{folder}' is missing: run its command again."
                )
    return runs


def _numbers(run: dict) -> list[int]:
    """Return the numbers of the batches of a shard."""
    n_batches = -(-run["n_blends"] // run["parameters"]["batch_size"])
    return Running(shard=run["shard"]).of_shard(range(n_batches))
