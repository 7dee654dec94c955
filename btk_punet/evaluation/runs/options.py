"""The choices of a run: which scenes are drawn, and how it is run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from btk_punet.cluster.workers import check_place
from btk_punet.errors import InputError
from btk_punet.options import option, shared_option

if TYPE_CHECKING:
    from pathlib import Path

    from btk.catalog import Catalog
    from btk.sampling_functions import SamplingFunction
    from btk.survey import Survey

    from btk_punet.simulation.scenes import SceneGenerator


@dataclass(frozen=True)
class Scenes:
    """Which scenes are drawn, and how many."""

    sampling: str | SamplingFunction = option(
        "groups",
        "how galaxies are placed: a name of `SAMPLINGS`, such as ``groups``, ``pairs`` or "
        "``fields``; in Python also a BTK sampling function",
    )
    catalog: str | Path | Catalog = option(
        "simulate",
        "which galaxies: ``simulate`` (a population like Euclid's), ``cosmos:DIR`` (real galaxies "
        "in GalSim's format), or the path of a CatSim-like table; in Python also a BTK catalog",
    )
    survey: str | Survey = option(
        "euclid", "``euclid``, or the name of one of BTK's surveys; in Python also a BTK survey"
    )
    n_exposures: int = option(4, "number of exposures of ``euclid``", type=int)
    read_noise: float = option(
        4.4, "read noise of one exposure of ``euclid`` [electron]", type=float
    )
    psf: float = option(0.16, "FWHM of the PSF of ``euclid`` before the pixel [arcsec]", type=float)
    n_blends: int = option(1000, "number of scenes", type=int, flags=("--n-blends", "-n"))
    batch_size: int = option(50, "number of scenes in a batch; no figure depends on it", type=int)
    seed: int = option(0, "seed of catalog, scenes and noise", type=int)

    def __post_init__(self):
        """Check the numbers."""
        check_numbers(n_blends=self.n_blends, batch_size=self.batch_size)

    def generator(self) -> SceneGenerator:
        """Return the generator of these scenes.

        Raises:
            InputError: for names that are not known, or numbers that cannot be.
        """
        # Here and not above: the command line reads the words, and answers --help at once.
        from btk_punet.simulation.choices import choose_generator, choose_survey

        survey = choose_survey(self.survey, self.n_exposures, self.read_noise, self.psf)
        return choose_generator(survey, self.catalog, self.sampling, self.batch_size, self.seed)

    def check_unused(self, given: str, used: Sequence[str] = ("n_blends",)) -> None:
        """Raise for choices that would be ignored.

        Args:
            given: What settles the scenes in their place.
            used: Names of those that are used all the same.

        Raises:
            InputError: if another one differs from its default.
        """
        ignored = [
            spec.name
            for spec in dataclasses.fields(self)
            if spec.name not in used and getattr(self, spec.name) != spec.default
        ]
        if ignored:
            raise InputError(
                f"{', '.join(ignored)} would be ignored, because {given} settles the scenes: leave "
                f"out either {given} or {' and '.join(ignored)}."
            )


@dataclass(frozen=True)
class Running:
    """How a run is run: where, and what becomes of what fails. No figure depends on it."""

    njobs: int = option(
        1, "number of processes of this machine", type=int, flags=("--jobs", "-j"), metavar="N"
    )
    scheduler: str | None = shared_option("scheduler")
    scheduler_file: str | Path | None = shared_option("scheduler_file")
    memory_limit: str | None = option(
        None,
        "memory of each process of this machine, such as ``2GB``: one that takes more is ended, "
        "and a method in which that happens three times is left out of the batch",
        metavar="SIZE",
    )
    timeout: float | None = option(
        None,
        "seconds that a method may take for a batch (20 times as many to be loaded, and to be run "
        "again on single sources): if it takes more its process is ended, and it is left out of "
        "the batch",
        type=float,
        metavar="SECONDS",
    )
    fail_fast: bool = option(
        False,
        "whether to stop at the first failure, instead of going on with what is left",
        action="store_true",
    )
    shard: str | None = option(
        None,
        "which part of the batches is done, as ``2/8`` for the second of eight, into a folder of "
        "its own; the parts are then merged",
        metavar="I/N",
    )
    overwrite: bool = shared_option("overwrite")
    progress: bool = shared_option("progress")

    def __post_init__(self):
        """Check the choices."""
        check_numbers(njobs=self.njobs)
        check_place(self.njobs, self.scheduler, self.scheduler_file, self.memory_limit)
        if self.timeout is not None and not 0 < self.timeout < float("inf"):
            raise InputError(f"timeout must be a number of seconds above 0, got {self.timeout!r}.")
        if self.shard is not None:
            self._shard()

    def is_connected(self) -> bool:
        """Tell whether the workers are those of a scheduler that runs already."""
        return self.scheduler is not None or self.scheduler_file is not None

    def needs_workers(self) -> bool:
        """Tell whether there must be other processes than this one."""
        ends = self.timeout is not None or self.memory_limit is not None
        return ends or self.is_connected() or self.njobs > 1

    def of_shard(self, numbers: Sequence[int]) -> list[int]:
        """Return those of the numbers of batches that this run does: all without a shard."""
        if self.shard is None:
            return list(numbers)
        part, n_parts = self._shard()
        return [number for number in numbers if number % n_parts == part - 1]

    def _shard(self) -> tuple[int, int]:
        part, _, n_parts = str(self.shard).partition("/")
        if not (part.isdecimal() and n_parts.isdecimal() and 1 <= int(part) <= int(n_parts)):
            raise InputError(
                f"shard must be like '2/8', for the second of eight, got {self.shard!r}."
            )
        return int(part), int(n_parts)


def check_numbers(**numbers: int) -> None:
    """Check that the numbers of a run, by their names, are whole and at least 1.

    Raises:
        InputError: if one is not.
    """
    for name, value in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{name} must be a whole number of at least 1, got {value!r}.")
