"""Tiles are shared among workers, and a worker that is killed costs its tile alone."""

import os
import signal
from types import SimpleNamespace

import pytest

from btk_punet.cluster.workers import open_workers
from btk_punet.errors import ClusterError
from btk_punet.images.search import _run


def dies_once_over_two(work, tile, ending):
    """Return the process, after a mark of each try; the first over the tile 2 kills it."""
    tries = len(list(work.folder.glob(f"try-{tile}-*")))
    (work.folder / f"try-{tile}-{tries}").touch()
    if tile == 2 and tries == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def dies(work, tile, ending):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def workers():
    with open_workers(2) as two:
        yield two


def searched(workers, folder, find, tiles):
    work, kept = SimpleNamespace(folder=folder), []

    def keep(work, tile, found):
        kept.append(tile)

    def path(tile):
        return folder / f"done-{tile}"

    return kept, list(_run(workers, work, find, keep, tiles, path, "argument"))


def test_no_tile(workers, tmp_path):
    assert searched(workers, tmp_path, dies, []) == ([], [])


def test_a_killed_worker_costs_its_tile_alone(workers, tmp_path):
    (tmp_path / "done-4").touch()
    kept, found = searched(workers, tmp_path, dies_once_over_two, list(range(6)))
    assert sorted(kept) == [0, 1, 2, 3, 5]
    assert found[0] is None and os.getpid() not in found
    # Another tile is done twice if the worker died before its answer was fetched.
    tries = {path.name for path in tmp_path.glob("try-*")}
    assert tries >= {"try-0-0", "try-1-0", "try-2-0", "try-2-1", "try-3-0", "try-5-0"}
    assert "try-2-2" not in tries


def test_a_tile_that_kills_every_worker_is_named(workers, tmp_path):
    with pytest.raises(ClusterError, match="7 has no result after 3 tries: the worker .* was lost"):
        searched(workers, tmp_path, dies, [7])
