"""A long run whose workers and scheduler are killed: the same tables as of a quiet one, and memory.

    python benchmarks/lost_workers.py FOLDER [--n-blends 20000] [--seed 20261603]

One run of `compare` in one process that nobody disturbs, in FOLDER/quiet. The same in
FOLDER/disturbed on a Dask scheduler with two workers, of which one is killed (SIGKILL) when a
quarter of the batches is done and another at half; a third one joins at 5/8, and at 3/4 the
scheduler is killed and started again at the same address. Workers that end are started again, as
a batch system does. Printed are the tables that differ, of which there must be none, the times,
and the memory of every process; FOLDER/memory.csv has it by the second, and
FOLDER/lost_workers.png shows it.

SEP and ProbaUNet on the benchmark's groups, 50 a batch, without outcomes and plots.
"""

import argparse
import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import matplotlib
import pandas as pd
import psutil
from rows import add_row

# Of the documentation (``docs/figures``), where it is copied to.
FIGURES = ("lost_workers",)

BATCH_SIZE = 50
# Share of the batches after which something happens.
KILLED_AT, JOINS_AT, RESTART_AT = (0.25, 0.5), 0.625, 0.75


def main() -> int:
    """Run both, and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n-blends", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=20_261_603)
    options = parser.parse_args()
    folder = options.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    quiet = Watched("quiet", command(options, folder / "quiet", "--jobs", "1"))
    while quiet.goes_on():
        pass
    disturbed, happened = disturb(options, folder)
    memory = pd.DataFrame(quiet.samples + disturbed.samples)
    memory.to_csv(folder / "memory.csv", index=False)
    plot(memory, happened, folder / f"{FIGURES[0]}.png")

    differ = differences(folder / "quiet", folder / "disturbed")
    print(f"{options.n_blends} blends: {quiet.seconds:.0f} s in one process,")
    print(f"{disturbed.seconds:.0f} s on two workers that were disturbed:")
    for seconds, what in happened:
        print(f"  {seconds:6.0f} s  {what}")
    growth = growth_of(memory)
    print(growth.round(3).to_string(index=False))
    print("Tables that differ:", ", ".join(differ) or "none")
    add_row("tables that differ after kills", len(differ), "tables", "<= 0", options.seed)
    for row in growth.itertuples():
        add_row(f"memory, last over second tenth of the run, {row.run} {row.process}", row.growth,
                "times", seed=options.seed)  # fmt: skip
    return 1 if differ or quiet.status or disturbed.status else 0


def command(options: argparse.Namespace, folder: Path, *how: str) -> list[str]:
    """Return the command of a run."""
    return [
        *(sys.executable, "-W", "ignore", "-m", "btk_punet.cli", "compare", "-o", str(folder)),
        *("-n", str(options.n_blends), "--batch-size", str(BATCH_SIZE)),
        *("--seed", str(options.seed), "-d", "sep", "probaunet"),
        *("--no-outcomes", "--no-report", "--quiet", *how),
    ]


class Watched:
    """A run, whose memory is looked at every second, and that of the workers.

    Args:
        name: Of the run.
        arguments: Its command.
    """

    def __init__(self, name: str, arguments: list[str]):
        self.name, self.samples, self.status, self.workers = name, [], None, []
        self._start, self._process = time.monotonic(), subprocess.Popen(arguments)

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return time.monotonic() - self._start if self.status is None else self._took

    def goes_on(self) -> bool:
        """Wait for a second, and tell whether it still runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.status = self._process.wait(1)
            self._took = time.monotonic() - self._start
            return False
        of = {"run": self._process.pid}
        of |= {f"worker {n}": worker.pid for n, worker in enumerate(self.workers, 1)}
        for process, pid in of.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                one = psutil.Process(pid)
                # A worker's nanny is small; its child does the work.
                family = [one, *one.children(recursive=True)]
                size = sum(member.memory_info().rss for member in family)
                self.samples.append(
                    {
                        "run": self.name,
                        "process": process,
                        "seconds": self.seconds,
                        "gigabytes": size / 1e9,
                    }
                )
        return True

    def end(self) -> None:
        """Kill it, if it still runs."""
        self._process.kill()
        self._process.wait()


def disturb(options: argparse.Namespace, folder: Path) -> tuple[Watched, list[tuple[float, str]]]:
    """Run on workers that are killed, and return the run and what happened when."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = f"tcp://127.0.0.1:{port}"
    log = (folder / "dask.log").open("w")

    def start(what: str, *arguments: str) -> subprocess.Popen:
        call = [sys.executable, "-m", f"distributed.cli.dask_{what}", *arguments, "--no-dashboard"]
        return subprocess.Popen(call, stdout=log, stderr=log)

    def new_scheduler() -> subprocess.Popen:
        return start("scheduler", "--host", "127.0.0.1", "--port", port)

    def new_worker() -> subprocess.Popen:
        local = str(folder / "dask")
        return start("worker", address, "--nthreads", "1", "--local-directory", local)

    scheduler, workers, happened = new_scheduler(), [new_worker(), new_worker()], []
    run = Watched("disturbed", command(options, folder / "disturbed", "--scheduler", address))
    run.workers = workers
    n_batches = -(-options.n_blends // BATCH_SIZE)
    todo = [(share, "kill") for share in KILLED_AT]
    todo += [(JOINS_AT, "join"), (RESTART_AT, "restart")]
    try:
        while run.goes_on():
            for n, worker in enumerate(workers):
                if worker.poll() is not None:
                    workers[n] = new_worker()
                    happened.append((run.seconds, f"worker {n + 1} is started again"))
            done = len(list((folder / "disturbed" / "batches").glob("*/summary.json")))
            if not todo or done < todo[0][0] * n_batches:
                continue
            what = todo.pop(0)[1]
            if what == "kill":
                kill_work(workers[0])
                happened.append((run.seconds, "worker 1 is killed"))
            elif what == "join":
                workers.append(new_worker())
                happened.append((run.seconds, "worker 3 joins"))
            else:
                scheduler.send_signal(signal.SIGKILL)
                scheduler.wait()
                scheduler = new_scheduler()
                happened.append((run.seconds, "the scheduler is killed and started again"))
    finally:
        run.end()
        for process in (*workers, scheduler):
            process.terminate()
        for process in (*workers, scheduler):
            process.wait()
        log.close()
    if todo:
        raise RuntimeError(f"The run ended before everything had happened; left: {todo}")
    return run, happened


def kill_work(worker: subprocess.Popen) -> None:
    """Kill the process of a worker that does its tasks."""
    for child in psutil.Process(worker.pid).children(recursive=True):
        if "spawn_main" in " ".join(child.cmdline()):
            child.kill()


def differences(one: Path, other: Path) -> list[str]:
    """Return the names of the tables that are not the same, byte for byte."""
    names = {
        str(path.relative_to(folder))
        for folder in (one, other)
        for path in (*folder.glob("*.parquet"), *(folder / "tables").iterdir())
    }
    if not names:
        raise RuntimeError(f"No tables in '{one}' and '{other}'")

    def content(path: Path) -> bytes | None:
        return path.read_bytes() if path.is_file() else None

    return sorted(name for name in names if content(one / name) != content(other / name))


def growth_of(memory: pd.DataFrame) -> pd.DataFrame:
    """Return median memory [GB] in the second and in the last tenth of each process's samples."""
    rows = []
    for (run, process), samples in memory.groupby(["run", "process"], sort=False):
        tenth = max(len(samples) // 10, 1)
        early = samples["gigabytes"].iloc[tenth : 2 * tenth].median()
        late = samples["gigabytes"].iloc[-tenth:].median()
        peak = samples["gigabytes"].max()
        rows.append({"run": run, "process": process, "early_gb": early, "late_gb": late,
                     "peak_gb": peak, "growth": late / early})  # fmt: skip
    return pd.DataFrame(rows)


def plot(memory: pd.DataFrame, happened: list[tuple[float, str]], path: Path) -> None:
    """Draw the memory of all processes over time."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, sharey=True, figsize=(10, 4), layout="constrained")
    for axis, (run, samples) in zip(axes, memory.groupby("run", sort=False), strict=True):
        for process, line in samples.groupby("process", sort=False):
            axis.plot(line["seconds"], line["gigabytes"], label=process)
        axis.set(title=run, xlabel="time [s]")
        axis.legend()
    for seconds, _ in happened:
        axes[1].axvline(seconds, color="0.8", zorder=0)
    axes[0].set(ylabel="memory [GB]", ylim=(0, 1.05 * memory["gigabytes"].max()))
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
