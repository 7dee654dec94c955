"""Small runs that the tests of this folder share; none of them may change one."""

import pytest

from btk_punet import EuclidCatalog, SepDeblender, compare
from btk_punet.deblending.deblender import ProbaUNetDeblender

TABLES = ["truth.parquet", "detections.parquet"]
OUTLINES = ["source_outlines.parquet", "detection_outlines.parquet", "class_pixels.parquet"]


@pytest.fixture(scope="session")
def catalog():
    return EuclidCatalog.simulate(500, seed=1)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    """Weights of a network that was never trained: its candidates have p_detect of 0.02-0.04."""
    import keras

    from btk_punet import ProbaUNet

    folder = tmp_path_factory.mktemp("weights") / "tiny"
    keras.utils.set_random_seed(0)
    ProbaUNet(channels=(4, 6)).save(folder)
    return folder


def two_settings():
    return {"sep": SepDeblender(20), "pure": SepDeblender(20, 3)}


def with_unet(weights):
    return two_settings() | {"unet": ProbaUNetDeblender(100, weights, n_samples=2, threshold=0.03)}


def small_run(folder, catalog, deblenders=None, **options):
    """Compare two settings of SEP on six blends in three batches: tables alone, no outcomes."""
    settings = {"n_blends": 6, "batch_size": 2, "outcomes": False, "report": False} | options
    deblenders = two_settings() if deblenders is None else deblenders
    return compare(folder, deblenders, catalog=catalog, progress=False, **settings)


@pytest.fixture(scope="session")
def plain(tmp_path_factory, catalog):
    """A run of tables alone."""
    return small_run(tmp_path_factory.mktemp("runs") / "plain", catalog)


@pytest.fixture(scope="session")
def run(tmp_path_factory, catalog, tiny_weights):
    """A run with everything: outcomes, probabilities and the report."""
    return small_run(
        tmp_path_factory.mktemp("runs") / "run",
        catalog,
        with_unet(tiny_weights),
        outcomes=True,
        report=True,
        command="btk-punet compare -d 'sep' & more",
    )


def contents(folder):
    """Return the bytes of everything that must be the same: the tidy tables and the others."""
    paths = sorted(folder.glob("*.parquet")) + sorted((folder / "tables").iterdir())
    assert {path.name for path in paths} >= set(TABLES)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


class FailsOnce(SepDeblender):
    """Fails on its third batch as long as a file is there."""

    def __init__(self, trigger):
        super().__init__(20)
        self._trigger = trigger
        self._calls = 0

    def batch_call(self, blend_batch, njobs=1):
        self._calls += 1
        if self._calls == 3 and self._trigger.exists():
            raise ZeroDivisionError("broken")
        return super().batch_call(blend_batch, njobs)
