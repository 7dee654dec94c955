import os
import subprocess
import sys

import pytest

import btk_punet


def run_python(code):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_loads_neither_tensorflow_nor_matplotlib():
    loaded = run_python(
        "import btk_punet, sys; "
        "print([name for name in ('tensorflow', 'keras', 'matplotlib', 'btk') "
        "if name in sys.modules])"
    )
    assert loaded == "[]"


def test_import_takes_under_a_second_beyond_btk():
    seconds = run_python(
        "import btk, time; start = time.perf_counter(); import btk_punet; "
        "print(time.perf_counter() - start)"
    )
    assert float(seconds) < 1.0


@pytest.mark.parametrize("name", btk_punet.__all__)
def test_every_public_name_is_there(name):
    assert getattr(btk_punet, name) is not None
    assert name in dir(btk_punet)


def test_unknown_name():
    with pytest.raises(AttributeError, match="'btk_punet' has no attribute 'Deblinder'"):
        btk_punet.Deblinder  # noqa: B018
