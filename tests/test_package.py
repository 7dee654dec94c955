import ast
import importlib
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import btk_punet

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "btk_punet"
STUB = ast.parse((PACKAGE / "__init__.pyi").read_text())
# Public name -> the module that the stub imports it from.
HOMES = {
    alias.name: f"btk_punet.{statement.module}"
    for statement in STUB.body
    if isinstance(statement, ast.ImportFrom)
    for alias in statement.names
}


def run_python(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, **options
    )


def printed_by(code):
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class TestImport:
    def test_loads_neither_tensorflow_nor_matplotlib(self):
        loaded = printed_by(
            "import btk_punet, sys; "
            "print([name for name in ('tensorflow', 'keras', 'matplotlib', 'btk', 'numpy') "
            "if name in sys.modules])"
        )
        assert loaded == "[]"

    def test_takes_under_half_a_second(self):
        seconds = printed_by(
            "import time; start = time.perf_counter(); import btk_punet; "
            "print(time.perf_counter() - start)"
        )
        assert float(seconds) < 0.5


class TestPublicNames:
    def test_are_those_of_the_stub(self):
        assert sorted(HOMES) == btk_punet.__all__ == dir(btk_punet)

    def test_are_exported_by_the_stub(self):
        for statement in STUB.body:
            for alias in getattr(statement, "names", ()):
                assert alias.asname == alias.name, "as in `import X as X`, which type checkers want"

    @pytest.mark.parametrize("name", btk_punet.__all__)
    def test_come_from_where_the_stub_says(self, name):
        value = getattr(btk_punet, name)
        assert value is getattr(importlib.import_module(HOMES[name]), name)
        assert getattr(value, "__module__", HOMES[name]) == HOMES[name]

    def test_unknown_name(self):
        with pytest.raises(AttributeError, match="No btk_punet attribute Deblinder"):
            btk_punet.Deblinder  # noqa: B018


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that mypy's cache is kept in, from one test to the next."""
    return tmp_path_factory.mktemp("types")


class TestTypes:
    """mypy --strict on a user's script, with the package as it is installed."""

    @staticmethod
    def check(script, folder):
        return run_python("-m", "mypy", "--strict", "--config-file=", str(script), cwd=folder)

    def test_of_a_right_script(self, folder):
        done = self.check(REPOSITORY / "tests/user_script.py", folder)
        assert done.returncode == 0, done.stdout

    def test_of_a_wrong_one(self, folder):
        script = folder / "wrong.py"
        script.write_text(
            "from btk_punet import Deblinder, SepDeblender, get_euclid_survey\n"
            "get_euclid_survey(n_exposure=4)\n"
            "SepDeblender('twenty')\n"
        )
        done = self.check(script, folder)
        assert done.returncode == 1, done.stderr
        assert re.findall(r"wrong\.py:(\d).*\[([a-z-]+)\]", done.stdout) == [
            ("1", "attr-defined"),
            ("2", "call-arg"),
            ("3", "arg-type"),
        ]


class TestMetadata:
    def test_version_stands_in_one_place(self):
        assert re.fullmatch(r"\d+\.\d+\.\d+([ab.]\w+)?", btk_punet.__version__)
        assert metadata.version("btk_punet") == btk_punet.__version__

    def test_citation_has_the_version(self):
        citation = (REPOSITORY / "CITATION.cff").read_text()
        assert f"\nversion: {btk_punet.__version__}\n" in citation

    @pytest.mark.skipif(
        int(metadata.version("setuptools").split(".")[0]) < 77,
        reason="the extra `test`, which brings a newer setuptools, is not installed",
    )
    def test_setup_py_still_works(self):
        done = run_python("-W", "ignore", "setup.py", "--version", cwd=REPOSITORY)
        assert done.stdout.split()[-1:] == [btk_punet.__version__], done.stderr

    def test_every_file_that_is_no_module_is_package_data(self):
        """Otherwise a wheel lacks what an editable installation has."""
        pyproject = (REPOSITORY / "pyproject.toml").read_text()
        section = re.search(r"\[tool\.setuptools\.package-data\]\n(.*?)\n\n", pyproject, re.DOTALL)
        patterns = dict(re.findall(r'^"(.+?)" = \[(.*)\]$', section[1], flags=re.MULTILINE))
        declared = set()
        for package, globs in patterns.items():
            folder = REPOSITORY / package.replace(".", "/") if package != "*" else PACKAGE
            for pattern in re.findall(r'"(.+?)"', globs):
                declared |= set(folder.rglob(pattern) if package == "*" else folder.glob(pattern))
        there = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".py"}
        there = {path for path in there if path.parent.name != "__pycache__"}
        assert there == declared
        assert {"py.typed", "__init__.pyi", "model.weights.h5"} <= {path.name for path in there}
