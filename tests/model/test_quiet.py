"""What a module writes to the process's standard error while it is loaded."""

import os
import subprocess
import sys

import pytest

from btk_punet.model.quiet import LOG_LEVEL, quietly_imported

NOISY = "import os\nos.write(2, b'a log from C++')\nloaded = True\n"


@pytest.fixture
def noisy(tmp_path, monkeypatch):
    """Name of a module that has not been loaded yet."""
    (tmp_path / "noisy_module.py").write_text(NOISY)
    monkeypatch.syspath_prepend(tmp_path)
    yield "noisy_module"
    sys.modules.pop("noisy_module", None)


def written_to(text, capfd):
    os.write(2, text)
    return capfd.readouterr().err


@pytest.mark.parametrize("level", [None, "3"])
def test_the_log_is_not_shown(noisy, monkeypatch, capfd, level):
    if level is None:
        monkeypatch.delenv(LOG_LEVEL, raising=False)
    else:
        monkeypatch.setenv(LOG_LEVEL, level)
    assert quietly_imported(noisy).loaded
    assert written_to(b"what comes after", capfd) == "what comes after"


def test_who_asks_for_the_log_sees_it(noisy, monkeypatch, capfd):
    monkeypatch.setenv(LOG_LEVEL, "0")
    assert quietly_imported(noisy).loaded
    assert capfd.readouterr().err == "a log from C++"


def test_errors_are_raised_and_standard_error_is_back(monkeypatch, capfd):
    monkeypatch.setenv(LOG_LEVEL, "3")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        quietly_imported("no_such_module")
    assert written_to(b"what comes after", capfd) == "what comes after"


def test_a_network_is_loaded_and_sampled_in_silence():
    code = (
        "import numpy as np; from btk_punet import ProbaUNet; "
        "network = ProbaUNet(channels=(4, 4), latent_channels=1, head_channels=4); "
        "network.sample(np.zeros((1, 16, 16, 1)), 1, 0)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop(LOG_LEVEL, None)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
