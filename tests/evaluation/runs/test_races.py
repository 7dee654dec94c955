"""Two runs in one folder at the same moment; `benchmarks/races.py` has 50 of them."""

import subprocess
import sys
from pathlib import Path

RACES = Path(__file__).parents[3] / "benchmarks" / "races.py"


def test_one_works_and_the_other_says_so():
    done = subprocess.run(
        [sys.executable, RACES, "--tries", "2"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ended = done.stdout.splitlines()
    assert [line.split()[:2] for line in ended] == [["1", "equal"], ["1", "other"]]
