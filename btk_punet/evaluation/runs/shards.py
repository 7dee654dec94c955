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


def merge_shards(output: str | Path, shards: Sequence[str | Path]) -> list[dict]:
    """Put the batches of the shards of a run into one folder, as those of a run that was stopped.

    The call of `compare` (or `selection_function`, `compare_benchmark`, `uniformity`) that made the
    shards, without ``shard`` and on this folder, then finishes: it checks the hash of each table,
    joins them, and writes the report. It ends with the same tables, bit for bit, as in one part.

    Args:
        output: Folder to be made.
        shards: Folders of the shards, all of them, in any order. Each holds one run, or several in
            folders of their own, the same ones in all.

    Returns:
        What is in the ``run.json`` of each run.

    Raises:
        InputError: if the folders do not hold all shards of the same runs, each done.
        RunExistsError: if the output folder holds anything but what a merge that was stopped left.
    """
    output = output_folder(output, (BATCHES,))
    # By the folder of each run in the output.
    checked = {
        output / place: _checked([Path(shard) / place for shard in shards])
        for place in _places([Path(shard) for shard in shards])
    }
    finished = [_is_finished(folder, _merged(runs)) for folder, runs in checked.items()]
    if all(finished):
        raise _not_empty(output)
    for (folder, runs), is_finished in zip(checked.items(), finished, strict=True):
        if is_finished:  # by a merge that was stopped at one of the next
            continue
        with locked(folder / LOCK_FILE):
            write_json(_merged(runs), folder / "run.json")
            write_file(folder / BATCHES / MERGED, b"")
            for shard, of_shard in runs.items():
                for number in _numbers(of_shard):
                    source = batch_folder(shard / BATCHES, number)
                    target = batch_folder(folder / BATCHES, number)
                    shutil.rmtree(target, ignore_errors=True)
                    shutil.copytree(source, target)
    return [_merged(runs) for runs in checked.values()]


def _places(folders: Sequence[Path]) -> list[Path]:
    """Return where in each shard its runs are: ``.`` for one that is a run itself."""
    if not folders:
        raise InputError("No shards given: expected the folders of all shards of a run.")
    places = {
        folder: {path.parent.relative_to(folder) for path in folder.rglob("run.json")}
        for folder in folders
    }
    for folder, own in places.items():
        if not own:
            raise InputError(f"'{folder}' holds no shard: give folders made with --shard I/N.")
        if differing := own ^ places[folders[0]]:
            raise InputError(
                f"'{folder}' and '{folders[0]}' do not hold shards of the same runs: "
                f"'{min(differing)}' is in one of them alone. Give shards made with the same "
                "options, but for --shard and --output, each of them done."
            )
    return sorted(places[folders[0]])


def _merged(runs: dict[Path, dict]) -> dict:
    """Return what the ``run.json`` of all shards together holds."""
    first = next(iter(runs.values()))
    run = {k: v for k, v in first.items() if k not in ("shard", "incomplete")}
    return run | {"status": "running"}


def _is_finished(folder: Path, run: dict) -> bool:
    """Tell whether a folder holds a run that is finished; check that it holds none but that run."""
    if not folder.exists() or all(path.name == LOCK_FILE for path in folder.iterdir()):
        return False
    before = read_run(folder)
    if before is None or before.get("shard") is not None or run_hash(before) != run_hash(run):
        raise _not_empty(folder)
    return before.get("status") == "finished"


def _not_empty(folder: Path) -> RunExistsError:
    return RunExistsError(
        f"'{folder}' is not empty: choose another folder for what the shards are put into."
    )


def _checked(folders: Sequence[Path]) -> dict[Path, dict]:
    """Return what is in the ``run.json`` of each shard, after checking that they make a run."""
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
