"""What a training run depends on: every choice with its default, once."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from btk_punet.errors import InputError, InputTypeError
from btk_punet.model.weights import PRESETS
from btk_punet.training.bank import TRAINING_SEED
from btk_punet.training.dataset import SCENE_MIX

# Beside the weights of a preset lies the configuration that made them.
TRAINING_FILE = "training.json"
# The smallest numbers with which a run can be.
_AT_LEAST = {
    "n_stamps": 1,
    "batch_size": 1,
    "batch_parts": 1,
    "stamp_size": 8,
    "report_stamps": 1,
    "validation_stamps": 1,
    "max_exposures": 1,
    "n_galaxies": 1,
}


@dataclass(frozen=True)
class TrainingConfig:
    """The choices of a training run. The same configuration gives the same run.

    Attributes:
        model: Arguments of `btk_punet.ProbaUNet`; what is left out has the default there.
        n_stamps: Stamps to see, each once, before training is done.
        batch_size: Stamps in a step.
        batch_parts: Parts of a batch, each drawn from a seed of its own, that several devices
            share; the run is the same on however many. A divisor of ``batch_size``.
        stamp_size: Side of a stamp [pixel].
        learning_rate: Of Adam, at its largest: reached after ``warmup_steps``, then falling along
            a cosine to ``final_learning_rate`` at the last step.
        final_learning_rate: Of the last step.
        warmup_steps: Steps over which the learning rate rises from 0.
        clip_norm: Largest norm of the gradient; larger ones are scaled down to it.
        beta: Weight of the KL divergence.
        beta_warmup_steps: Steps over which that weight rises from 0.
        centre_weight: Weight of the centre map's loss.
        centre_prior_share: Share of that loss that is taken with a latent of the prior (see
            `btk_punet.model.objective`).
        class_prior_share: The same of the class map's loss.
        prior_from: Stamps seen before those shares are taken; until then they are 0.
        average_steps: The shipped weights are an exponential average over about so many steps.
        patience: Training stops when the loss on held-out stamps has not fallen for so many
            reports; 0 for never.
        report_stamps: Stamps from one report (validation, a row of the log, a checkpoint) to the
            next.
        validation_stamps: Number of held-out stamps.
        precision: ``"float32"``; ``"bfloat16"``, in which the convolutions then run (the weights
            stay float32), up to twice as fast on processors that have it (AMX, AVX-512) and on
            accelerators; ``"auto"`` takes the faster one.
        mix: Shares of the kinds of scenes among Euclid's stamps.
        masked_share: Share of Euclid's stamps with masked pixels.
        max_exposures: Most exposures of Euclid's stamps.
        n_galaxies: Galaxies and stars in the bank from which Euclid's stamps are composed.
        survey: ``"euclid"``, for stamps from such a bank; or the name of one of BTK's surveys,
            for blends drawn by BTK's own `CatsimGenerator`.
        catalog: Path of a CatSim-like table, for one of BTK's surveys.
        real_galaxies: Path of a file of real galaxies (see `read_real_galaxies`), which then are
            most of the large ones among Euclid's.
        initial_weights: Folder of a network, or the name of a preset, with whose weights training
            starts; random ones if None. The network must be as ``model`` says, but may lack
            ``told_density`` and ``context_dilations``, or the last of these; what it lacks
            starts without effect.
        seed: Of galaxies, scenes, noise and first weights.
    """

    model: Mapping[str, Any] = field(default_factory=dict)
    n_stamps: int = 1_500_000
    batch_size: int = 64
    batch_parts: int = 1
    stamp_size: int = 64
    learning_rate: float = 2e-3
    final_learning_rate: float = 1e-5
    warmup_steps: int = 300
    clip_norm: float = 1.0
    beta: float = 1.0
    beta_warmup_steps: int = 1000
    centre_weight: float = 1.0
    centre_prior_share: float = 0.9
    class_prior_share: float = 0.5
    prior_from: int = 0
    average_steps: int = 500
    patience: int = 0
    report_stamps: int = 16_384
    validation_stamps: int = 1024
    precision: str = "auto"
    mix: Mapping[str, float] = field(default_factory=lambda: dict(SCENE_MIX))
    masked_share: float = 0.3
    max_exposures: int = 6
    n_galaxies: int = 20_000
    survey: str = "euclid"
    catalog: str | None = None
    real_galaxies: str | None = None
    initial_weights: str | None = None
    seed: int = TRAINING_SEED

    def __post_init__(self):
        """Check the values that nothing else checks before training starts."""
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if spec.type in ("int", "float"):
                _check_number(spec.name, value, spec.type == "int")
        for name, least in _AT_LEAST.items():
            if getattr(self, name) < least:
                raise InputError(f"expected {name} of at least {least}, got {getattr(self, name)}")
        if self.batch_size % self.batch_parts:
            raise InputError(
                f"expected batch_parts as a divisor of the batch_size {self.batch_size}, got "
                f"{self.batch_parts}"
            )
        for name in ("masked_share", "centre_prior_share", "class_prior_share"):
            if getattr(self, name) > 1:
                raise InputError(f"expected {name} in 0-1, got {getattr(self, name)}")
        self._check_mappings()
        if self.learning_rate <= 0 or self.clip_norm <= 0:
            raise InputError(
                "expected learning_rate and clip_norm above 0, got "
                f"{self.learning_rate} and {self.clip_norm}"
            )
        if self.final_learning_rate > self.learning_rate:
            raise InputError(
                f"expected final_learning_rate of at most the learning_rate {self.learning_rate}, "
                f"got {self.final_learning_rate}"
            )
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise InputError(
                f"expected precision 'auto', 'float32' or 'bfloat16', got {self.precision!r}"
            )
        for name in ("survey", "catalog", "real_galaxies", "initial_weights"):
            value = getattr(self, name)
            if not isinstance(value, str) and (name == "survey" or value is not None):
                raise InputTypeError(f"expected {name} as a text, got {value!r}")
        if self.survey != "euclid" and self.catalog is None:
            raise InputError(
                f"the survey {self.survey!r} needs a catalog of galaxies to draw: give the path of "
                "a CatSim-like table (--catalog FILE)"
            )
        if self.survey == "euclid" and self.catalog is not None:
            raise InputError(
                "Euclid's stamps are composed from simulated galaxies, and no catalog is read: "
                "leave the catalog out, or give one of BTK's surveys (--survey LSST)"
            )

    def _check_mappings(self) -> None:
        for name in ("model", "mix"):
            if not isinstance(getattr(self, name), Mapping):
                raise InputTypeError(
                    f"expected {name} as a mapping of names to values, got {getattr(self, name)!r}"
                )
        if set(self.mix) - set(SCENE_MIX):
            raise InputError(f"mix must hold shares of {list(SCENE_MIX)}, got {dict(self.mix)}")
        for name, share in self.mix.items():
            _check_number(f"the share of {name} in mix", share, False)
        if not sum(self.mix.values()) > 0:
            raise InputError(f"expected a share above 0 in mix, got {dict(self.mix)}")

    @property
    def n_steps(self) -> int:
        """Number of steps of the whole run."""
        return math.ceil(self.n_stamps / self.batch_size)

    @property
    def report_steps(self) -> int:
        """Number of steps between reports."""
        return max(self.report_stamps // self.batch_size, 1)

    def changed(self, **changes: Any) -> TrainingConfig:
        """Return a copy with some choices changed.

        Raises:
            InputError, InputTypeError: for a choice that there is not, or a wrong value.
        """
        return self.from_dict({**self.to_dict(), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return the choices as JSON can hold them."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, choices: Mapping[str, Any]) -> TrainingConfig:
        """Return the configuration with these choices, and defaults for the rest.

        Raises:
            InputError, InputTypeError: for a choice that there is not, or a wrong value.
        """
        known = [spec.name for spec in dataclasses.fields(cls)]
        unknown = sorted(set(choices) - set(known))
        if unknown:
            raise InputError(
                f"unknown in a training configuration: {', '.join(unknown)}; it may hold "
                f"{', '.join(known)}"
            )
        return cls(**choices)

    @classmethod
    def from_file(cls, path: str | Path) -> TrainingConfig:
        """Read a configuration from a JSON file, such as a run's ``training.json``.

        Raises:
            InputError: if the file is not there, or holds something else.
        """
        try:
            content = json.loads(Path(path).read_text())
        except FileNotFoundError as error:
            raise InputError(f"there is no training configuration '{path}'") from error
        except ValueError as error:
            raise InputError(f"'{path}' is not a JSON file: {error}") from error
        choices = content.get("config", content) if isinstance(content, dict) else content
        if not isinstance(choices, dict):
            raise InputError(f"expected a JSON object of choices in '{path}', got {choices!r:.80}")
        return cls.from_dict(choices)

    @classmethod
    def from_preset(cls, name: str) -> TrainingConfig:
        """Return the configuration that trains a preset of this package.

        Raises:
            InputError: if there is no preset of this name.
        """
        known = sorted(path.parent.name for path in PRESETS.glob(f"*/{TRAINING_FILE}"))
        if name not in known:
            raise InputError(f"expected the name of a preset ({', '.join(known)}), got {name!r}")
        return cls.from_file(PRESETS / name / TRAINING_FILE)


def _check_number(name: str, value: Any, whole: bool) -> None:
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        kind = "a whole number" if whole else "a number"
        raise InputTypeError(f"expected {name} as {kind}, got {value!r}")
    if not 0 <= value < math.inf:
        raise InputError(f"expected {name} of 0 or more, got {value}")
