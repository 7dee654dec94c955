"""Run deblenders on batch after batch of blends, and keep all that they return."""

import itertools
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from btk.blend_batch import BlendBatch, DeblendBatch, MultiResolutionBlendBatch
from btk.deblend import Deblender
from btk.draw_blends import DrawBlendsGenerator
from threadpoolctl import threadpool_limits

from btk_punet.cluster.kept import kept_workers
from btk_punet.cluster.ordered import in_order
from btk_punet.cluster.tasks import Failure, Outcome
from btk_punet.cluster.workers import check_place, open_workers
from btk_punet.deblending.base import check_name, told_scenes
from btk_punet.deblending.calling import call_method
from btk_punet.deblending.storage import (
    MeasuredBatch,
    MeasuredBatches,
    batch_file,
    batch_files,
    write_batch,
)
from btk_punet.errors import (
    BatchFailedError,
    BtkPunetWarning,
    InputError,
    InputTypeError,
    RunExistsError,
)
from btk_punet.output import output_folder
from btk_punet.simulation.scenes import SceneGenerator

# Of a batch for workers: its number; itself, or None to be drawn there; why it cannot be drawn.
_Item: TypeAlias = tuple[int, Any, Failure | None]
Deblenders: TypeAlias = Deblender | Sequence[Deblender] | Mapping[str, Deblender]

# So many batches in a row that cannot be drawn end a run that continues after failures.
MOST_DRAWING_FAILURES = 5


class MeasureGenerator:
    """Yields blends and what deblenders make of them, and saves both.

    Like BTK's ``DeblendGenerator``, which was called ``MeasureGenerator`` before BTK 1.0::

        measured = MeasureGenerator([SepDeblender(20), other], generator, save_path="run")
        blend_batch, deblended = next(measured)
        deblended["SepDeblender"].catalog_list
        again = MeasureGenerator.load("run")

    With `save_path`, each batch is a file ``batch_000000.h5``, written whole or not at all as soon
    as it is measured, with everything in it: blends, isolated images, catalogs, survey and PSF;
    catalogs, segmentation, deblended images and ``extra_data`` (uncertainty maps) of each method.
    The number is that of the generator's batch for a `SceneGenerator` (``EuclidGenerator``,
    ``RealGalaxyGenerator``), and counts from 0 for others. A run that was stopped before batch 8
    resumes with a generator made with ``first_batch=8`` and the same `save_path`.

    Args:
        deblenders: A BTK deblender, several, or a dict of name and deblender; they are told of the
            generator's scenes what they may know (see `told_scenes`). Without a dict the
            name is that of the class, with ``_0``, ``_1``... where several share it.
        draw_blend_generator: A BTK generator of one survey, or any iterable of ``BlendBatch``.
        njobs: Processes that each measure whole batches (and draw them, for a `SceneGenerator`),
            ahead of the one that ``next`` yields, up to 16; the batches and their order are the
            same. They are started once, and stay until this process ends. One is this process.
        verbose: Whether to print one line per batch.
        save_path: Folder to save the batches in; None saves nothing.
        on_error: What to do where drawing a batch, or a method, fails. ``"raise"``: raise
            `BatchFailedError`; the batches before are saved, and ``next`` continues with the next
            one. ``"warn"``: give a `BtkPunetWarning` with the same text and continue, without that
            method in the dict of that batch, or without that batch (five of these in a row raise
            after all).
        scheduler: Address of a Dask scheduler that runs already, whose workers do this in place of
            processes of this machine.
        scheduler_file: The file that such a scheduler wrote, in place of its address.
        overwrite: Whether batches that `save_path` holds may be discarded. Without it, none
            may be there with the number of the first batch or a later one; with it, these are
            removed when the first batch is saved.

    Attributes:
        deblenders: The deblenders by name.

    Raises:
        InputTypeError: for deblenders, a generator or a `save_path` of another type.
        InputError: for several surveys, no deblender, two of one name, or options out of range.
        RunExistsError: if `save_path` is a file, or holds batches that would be overwritten.
    """

    def __init__(
        self,
        deblenders: Deblenders,
        draw_blend_generator: DrawBlendsGenerator | Iterable[BlendBatch],
        njobs: int = 1,
        verbose: bool = False,
        save_path: str | Path | None = None,
        *,
        on_error: str = "raise",
        scheduler: str | None = None,
        scheduler_file: str | Path | None = None,
        overwrite: bool = False,
    ):
        if isinstance(njobs, bool) or not isinstance(njobs, int | np.integer):
            raise InputTypeError(f"njobs must be a whole number, got {njobs!r}.")
        if njobs < 1:
            raise InputError(f"njobs must be at least 1, got {njobs}.")
        if on_error not in ("raise", "warn"):
            raise InputError(f"on_error must be 'raise' or 'warn', got {on_error!r}.")
        if not isinstance(save_path, str | Path | None):
            raise InputTypeError(
                f"save_path must be the path of a folder or None, got {save_path!r}."
            )
        check_place(int(njobs), scheduler, scheduler_file, None)
        _check_generator(draw_blend_generator)
        self.deblenders = {
            name: told_scenes(deblender, draw_blend_generator)
            for name, deblender in _named(deblenders).items()
        }
        self.draw_blend_generator = draw_blend_generator
        self.batch_size = getattr(draw_blend_generator, "batch_size", None)
        self.njobs = njobs
        self.verbose = verbose
        self.save_path = None if save_path is None else output_folder(save_path, name="save_path")
        self.on_error = on_error
        self.scheduler, self.scheduler_file = scheduler, scheduler_file
        self.overwrite = overwrite
        self._blends = iter(draw_blend_generator)
        self._count = 0
        self._ahead: Iterator[Outcome] | None = None
        self._expected = -1
        self._saved = False
        if self.save_path is not None:
            self._open_folder(self.save_path)

    @staticmethod
    def load(path: str | Path) -> MeasuredBatches:
        """Return the batches of a folder, which are read one by one as they are asked for.

        Args:
            path: The `save_path` of a run, finished or not.

        Returns:
            A sequence of ``(blend_batch, {name: DeblendBatch})``: iterate, index or slice it.
            Reading a batch that is damaged, of another kind or of a newer version raises
            `InputError`; nothing in a file is run.

        Raises:
            InputError: if there is no such folder, or no batch in it.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise InputError(
                f"'{folder}' is not a folder: expected the save_path of a MeasureGenerator."
            )
        paths = batch_files(folder)
        if not paths:
            raise InputError(
                f"'{folder}' holds no batch_000000.h5 or the like: expected the save_path of a "
                "MeasureGenerator that has measured at least one batch."
            )
        return MeasuredBatches(paths)

    @property
    def deblender_names(self) -> list[str]:
        """The names of the methods, in the order in which they run."""
        return list(self.deblenders)

    def __iter__(self) -> "MeasureGenerator":
        return self

    def __next__(self) -> MeasuredBatch:
        """Draw the next batch and run every deblender on it.

        Returns:
            The blends, and each method's ``DeblendBatch`` by its name.

        Raises:
            BatchFailedError: where drawing or a method fails; see `on_error`.
            InputError: for the batch of several surveys, or a result that cannot be saved.
            InputTypeError: for something else than a ``BlendBatch``, or extra data that cannot be
                saved.
        """
        if self.njobs == 1 and self.scheduler is None and self.scheduler_file is None:
            number, blend_batch = self._draw(self._drawn_here)
            measured = _measure(self.deblenders, blend_batch, self.on_error == "raise")
        else:
            number, (blend_batch, measured) = self._draw(self._drawn_ahead)
            for text in measured.warnings:
                warnings.warn(text, BtkPunetWarning, stacklevel=2)
        for name, failure in measured.failures.items():
            self._fail(number, name, failure)
        if self.save_path is not None:
            self._save(self.save_path, number, blend_batch, measured.deblended)
        if self.verbose:
            taken = "".join(f", {name} {value:.2f} s" for name, value in measured.seconds.items())
            print(f"Batch {number}: {blend_batch.batch_size} blends{taken}")
        return blend_batch, measured.deblended

    def _draw(self, drawn: Callable[[], Outcome[int]]) -> tuple[int, Any]:
        """Return the number and what there is of the next batch that can be drawn."""
        failures = 0
        while True:
            outcome = drawn()
            generator = self.draw_blend_generator
            if isinstance(generator, SceneGenerator):
                generator.batch_number = outcome.item + 1  # also where it cannot be drawn
            self._count = outcome.item + 1
            if outcome.failure is None:
                return outcome.item, outcome.result
            failures += 1
            for_good = failures == MOST_DRAWING_FAILURES
            self._fail(outcome.item, "the generator", outcome.failure, for_good)

    def _drawn_here(self) -> Outcome[int]:
        """Draw a batch in this process."""
        number = self._next_number()
        try:
            blend_batch = next(self._blends)
        except StopIteration:
            raise
        except Exception as error:
            return Outcome(number, failure=Failure.of(error))
        _check_batch(blend_batch)
        return Outcome(number, blend_batch)

    def _drawn_ahead(self) -> Outcome[int]:
        """Return a batch that workers measured, and drew where they can."""
        generator = self.draw_blend_generator
        was_set = isinstance(generator, SceneGenerator) and self._next_number() != self._expected
        if self._ahead is None or was_set:
            self._ahead = self._measured_ahead()
        outcome = next(self._ahead)
        number, _, failure = outcome.item
        self._expected = number + 1
        failure = failure or outcome.failure
        if failure is None:
            _check_batch(outcome.result[0])
        return Outcome(number, outcome.result, failure)

    def _measured_ahead(self) -> Iterator[Outcome]:
        """Yield the batches of workers, in their order."""
        generator = self.draw_blend_generator
        is_drawn_there = isinstance(generator, SceneGenerator) and _draws_by_number(generator)
        items = self._numbers() if is_drawn_there else self._drawn_before()
        shared = self.deblenders, generator if is_drawn_there else None, self.on_error == "raise"
        with ExitStack() as stack:
            if self.scheduler is None and self.scheduler_file is None:
                workers = kept_workers(self.njobs)
            else:
                place = open_workers(1, self.scheduler, self.scheduler_file)
                workers = stack.enter_context(place)
            yield from in_order(workers, _draw_and_measure, items, shared)

    def _numbers(self) -> Iterator[_Item]:
        """Yield batches to be drawn, without end."""
        for number in itertools.count(self._next_number()):
            yield number, None, None

    def _drawn_before(self) -> Iterator[_Item]:
        """Yield batches that only this process can draw."""
        for number in itertools.count(self._next_number()):
            try:
                yield number, next(self._blends), None
            except StopIteration:
                return
            except Exception as error:
                yield number, None, Failure.of(error)

    def _next_number(self) -> int:
        generator = self.draw_blend_generator
        return generator.batch_number if isinstance(generator, SceneGenerator) else self._count

    def _fail(self, number: int, where: str, failure: Failure, for_good: bool = False) -> None:
        """Raise or warn, as asked for; raise in any case if `for_good`."""
        message = (
            f"Batch {number} failed in {where}: {failure.message} -- {self._drawn_from(number)}"
        )
        if for_good and self.on_error == "warn":
            message += f" It is number {MOST_DRAWING_FAILURES} in a row that cannot be drawn."
        if for_good or self.on_error == "raise":
            if self.save_path is not None:
                message += f" The batches that were done are in '{self.save_path}'."
            raise BatchFailedError(message) from failure.error
        left_out = "The batch is left out" if where == "the generator" else f"{where} is left out"
        # Up to the line that asks for the batch, through _draw or without it.
        level = 4 if where == "the generator" else 3
        warnings.warn(f"{message} {left_out}.", BtkPunetWarning, stacklevel=level)

    def _drawn_from(self, number: int) -> str:
        """Return how to draw a batch again, in words."""
        generator = self.draw_blend_generator
        if isinstance(generator, SceneGenerator):
            first = number * generator.batch_size
            scenes = f"scenes {first} to {first + generator.batch_size - 1}"
            return (
                f"Draw it again with draw_batch({number}) of the same "
                f"{type(generator).__name__} ({scenes}, seed {generator.seed}, seed of the "
                f"sampling function {_seed(generator.sampling_function)})."
            )
        if isinstance(generator, DrawBlendsGenerator):
            sampling = generator.blend_generator.sampling_function
            return (
                f"To draw it again, make the same {type(generator).__name__} again (seed "
                f"{generator.seedseq.entropy}, seed of the sampling function {_seed(sampling)}) "
                f"and take its batch {number}, counted from 0: BTK draws batches from one stream."
            )
        return f"It is batch {number}, counted from 0, of a {type(generator).__name__}."

    def _open_folder(self, folder: Path) -> None:
        """Make the folder, or see that no batch in it would be lost."""
        folder.mkdir(parents=True, exist_ok=True)
        if not self.overwrite:
            _check_free(folder, batch_files(folder, self._next_number()))

    def _save(
        self,
        folder: Path,
        number: int,
        blend_batch: BlendBatch,
        deblended: dict[str, DeblendBatch],
    ) -> None:
        path = batch_file(folder, number)
        if not self.overwrite and path.exists():  # since then, or the generator was set back
            _check_free(folder, [path])
        write_batch(path, blend_batch, deblended, self._drawn_from(number))
        if self.overwrite and not self._saved:  # not before there is something in their place
            for old in batch_files(folder, number + 1):
                old.unlink()
        self._saved = True


@dataclass(frozen=True)
class _Measured:
    """What the deblenders made of a batch, and the failures of those that made nothing.

    Attributes:
        deblended: Results by the names of the methods.
        seconds: How long each took.
        failures: Of the others, by name.
        warnings: What methods warned of, in a worker.
    """

    deblended: dict[str, DeblendBatch]
    seconds: dict[str, float]
    failures: dict[str, Failure]
    warnings: tuple[str, ...] = ()


def _measure(
    deblenders: Mapping[str, Deblender], blend_batch: BlendBatch, stops: bool
) -> _Measured:
    """Run every deblender on a batch, up to the first that fails if `stops`."""
    measured = _Measured({}, {}, {})
    # The last digits of a sum may depend on the number of threads.
    with threadpool_limits(1):
        for name, deblender in deblenders.items():
            start = time.perf_counter()
            try:
                measured.deblended[name] = call_method(deblender, blend_batch, name)
            except Exception as error:  # whatever a user's method raises
                measured.failures[name] = Failure.of(error)
                if stops:
                    break
            else:
                measured.seconds[name] = time.perf_counter() - start
    return measured


def _draw_and_measure(
    shared: tuple[Mapping[str, Deblender], SceneGenerator | None, bool], item: _Item
) -> tuple[BlendBatch, _Measured] | None:
    """Draw a batch in a worker, unless it is there, and measure it."""
    deblenders, generator, stops = shared
    number, blend_batch, failure = item
    if failure is not None:
        return None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if generator is not None:
            blend_batch = generator.draw_batch(number)
        if not isinstance(blend_batch, BlendBatch):  # which is for the other process to say
            return blend_batch, _Measured({}, {}, {})
        measured = _measure(deblenders, blend_batch, stops)
    told = tuple(str(w.message) for w in caught if issubclass(w.category, BtkPunetWarning))
    failures = {name: failure.sendable() for name, failure in measured.failures.items()}
    return blend_batch, replace(measured, failures=failures, warnings=told)


def _draws_by_number(generator: SceneGenerator) -> bool:
    """Tell whether ``next`` is `draw_batch` of the next number, as in `SceneGenerator`."""
    return type(generator).__next__ is SceneGenerator.__next__


def _check_batch(blend_batch: object) -> None:
    if isinstance(blend_batch, MultiResolutionBlendBatch):
        raise _several_surveys(len(blend_batch.results))
    if not isinstance(blend_batch, BlendBatch):
        raise InputTypeError(
            "draw_blend_generator must give btk BlendBatch objects, got "
            f"{type(blend_batch).__name__}."
        )


def _check_free(folder: Path, existing: list[Path]) -> None:
    if existing:
        raise RunExistsError(
            f"'{folder}' holds {len(existing)} batch(es) of another run that may be overwritten "
            f"({existing[0].name}). Choose another save_path, read them with "
            "MeasureGenerator.load, or give overwrite=True to discard them."
        )


def _seed(sampling_function: object) -> object:
    rng = getattr(sampling_function, "rng", None)
    seeds = getattr(getattr(rng, "bit_generator", None), "seed_seq", None)
    return getattr(seeds, "entropy", "unknown")


def _check_generator(generator: object) -> None:
    if isinstance(generator, type) or not isinstance(generator, Iterable):
        raise InputTypeError(
            "draw_blend_generator must be a BTK generator of blends, such as EuclidGenerator(...), "
            f"or an iterable of BlendBatch, got {generator!r}."
        )
    if isinstance(generator, DrawBlendsGenerator) and len(generator.surveys) != 1:
        raise _several_surveys(len(generator.surveys))


def _several_surveys(n_surveys: int) -> InputError:
    return InputError(
        f"Expected blends of one survey, got {n_surveys}: BTK's deblenders take one. Make a "
        "generator for each survey; those of btk_punet draw the same scenes from the same seeds."
    )


def _named(deblenders: Deblenders) -> dict[str, Deblender]:
    """Return deblenders by name; the name of the class, with a number where several share it."""
    if isinstance(deblenders, Mapping):
        named = dict(deblenders)
    else:
        given = list(deblenders) if isinstance(deblenders, list | tuple) else [deblenders]
        names = [type(deblender).__name__ for deblender in given]
        for name in {name for name in names if names.count(name) > 1}:
            places = [place for place, other in enumerate(names) if other == name]
            for number, place in enumerate(places):
                names[place] = f"{name}_{number}"
        named = dict(zip(names, given, strict=True))
        if len(named) < len(names):
            raise InputError(f"Two deblenders get one name in {names}: give a dict of names.")
    if not named:
        raise InputError("No deblender given: expected for example SepDeblender(20).")
    for name, deblender in named.items():
        check_name(name)
        if isinstance(deblender, type):
            raise InputTypeError(
                f"Expected an instance, got the class {deblender.__name__}: give "
                f"{deblender.__name__}(...) with its settings."
            )
        if not isinstance(deblender, Deblender):
            raise InputTypeError(
                f"Expected instances of btk.deblend.Deblender, got {type(deblender).__name__}; "
                "for example SepDeblender(20)."
            )
    return named
