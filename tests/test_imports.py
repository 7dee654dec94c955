"""Imports point one way, along the way of the data, and nowhere in a circle (pyproject.toml)."""

from pathlib import Path

from importlinter.cli import lint_imports

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def test_contracts_are_kept(capfd):
    status = lint_imports(config_filename=str(PYPROJECT), no_cache=True)
    assert status == 0, capfd.readouterr().out
