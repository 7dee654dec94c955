"""One call that trains a network: bank or catalog, composers, trainer, folder."""

from __future__ import annotations

import platform
from contextlib import contextmanager, nullcontext
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from btk_punet import __version__
from btk_punet.errors import InputError, InputTypeError
from btk_punet.folder_lock import LOCK_FILE, locked
from btk_punet.model.quiet import quietly_imported
from btk_punet.output import output_folder
from btk_punet.training.bank import HELD_OUT_EVERY, GalaxyBank
from btk_punet.training.config import TRAINING_FILE, TrainingConfig
from btk_punet.training.dataset import StampComposer
from btk_punet.training.devices import check_word, open_devices
from btk_punet.training.run_folder import BANK_FILE, MODEL_FOLDER, TrainingRun

if TYPE_CHECKING:
    from btk_punet.model.proba_unet import ProbaUNet
    from btk_punet.training.blends import BlendComposer

# Streams of the seed, for the stamps of training and of validation.
_STAMPS, _HELD_OUT = 1, 2


def train(
    output: str | Path,
    config: TrainingConfig | str | None = None,
    *,
    bank: GalaxyBank | str | Path | None = None,
    njobs: int = 1,
    overwrite: bool = False,
    progress: bool = True,
    distribute: str | None = None,
) -> ProbaUNet:
    """Train a network, or go on with a training that was stopped.

    Args:
        output: Folder of the run (see `TrainingRun`). The same call on the same folder goes on
            from the last checkpoint; a finished run is only loaded.
        config: The choices, or the name of a preset; defaults if None.
        bank: Galaxies for Euclid's stamps, as `GalaxyBank` or its file, drawn anew if None.
        njobs: Processes that draw the bank.
        overwrite: Whether to throw away another run in the folder.
        progress: Whether to show a progress bar.
        distribute: ``"gpus"`` to train on all GPUs of this machine; ``"machines"`` to train with
            the other processes of ``TF_CONFIG``, each of which makes the same call. ``output`` is
            then a folder that all of them see; the first process alone writes there.

    Returns:
        The network with the averaged weights, also saved in ``output/model``.

    Raises:
        InputError, InputTypeError: if a choice cannot be used.
        RunExistsError: if the folder holds another run, or another process trains in it.
        TrainingFailedError: if the loss is no longer a number, or another process is gone.
    """
    check_word(distribute)
    if config is None or isinstance(config, str):
        config = TrainingConfig() if config is None else TrainingConfig.from_preset(config)
    if not isinstance(config, TrainingConfig):
        raise InputTypeError(
            f"expected config as a TrainingConfig or the name of a preset, got {config!r:.80}; "
            "make one with TrainingConfig.from_dict"
        )
    run = TrainingRun(output_folder(output, (MODEL_FOLDER,)), config, overwrite)

    # Here and not above: that a folder holds another run is known without TensorFlow.
    quietly_imported("btk_punet.model.proba_unet")
    import keras

    from btk_punet.model.proba_unet import ProbaUNet
    from btk_punet.training.trainer import Trainer

    def trained_before() -> ProbaUNet:
        return ProbaUNet.load(run.folder / MODEL_FOLDER)

    if run.finished:
        return trained_before()
    # What a wrong choice can stop comes first, and only then the folder is taken.
    blends = None if config.survey == "euclid" else _blend_composers(config)
    devices = open_devices(distribute)
    devices.parts(config.batch_parts)
    # As the chief finds, whose processor may be another than theirs.
    (half,) = devices.told_by_chief([np.array(_in_bfloat16(config.precision))])
    policy = "mixed_bfloat16" if half else "float32"
    keras.utils.set_random_seed(config.seed % 2**32)
    with _precision(policy), devices.scope():
        network = _network(config, 1 if blends is None else blends[0].n_bands)
    if config.initial_weights is not None and run.checkpoint is None:
        _take_weights(config.initial_weights, network)
    with locked(run.folder / LOCK_FILE) if devices.is_chief else nullcontext():
        if devices.is_chief:
            run = TrainingRun(run.folder, config, overwrite)  # as another process may have left it
            if run.finished and devices.n_devices == 1:
                return trained_before()
            run.begin(
                precision_used=policy,
                versions=_versions(keras.backend.backend()),
                devices=devices.n_devices,
            )
            composers = blends or _stamp_composers(
                config, _bank(bank, config, run, njobs, progress)
            )
        # The others wait here for the chief, whose bank they read.
        devices.told_by_chief([np.zeros(1)])
        if not devices.is_chief:
            composers = blends or _stamp_composers(
                config, _bank(bank, config, run, njobs, progress, keep=False)
            )
        composer, held_out = composers
        trainer = Trainer(config, network, composer, held_out, devices)
        if devices.is_chief and run.checkpoint is not None:
            trainer.restore(run.checkpoint)
        trainer.take_chiefs_state()
        ended = trainer.train(run, progress)
        with _precision("float32"):
            trained = trainer.averaged_network()
        if devices.is_chief:
            trained.save(run.folder / MODEL_FOLDER)
            stamps = trainer.step * config.batch_size
            run.describe(status="finished", ended=ended, step=trainer.step, stamps=stamps)
            (run.folder / BANK_FILE).unlink(missing_ok=True)
    return trained


def network_so_far(folder: str | Path) -> ProbaUNet:
    """Return the network of a run that is not done, with the averaged weights of its checkpoint.

    Args:
        folder: Folder of the run; a process may be training in it.

    Raises:
        InputError: if it holds no run, or one without a checkpoint.
    """
    config = TrainingConfig.from_file(Path(folder) / TRAINING_FILE)
    state = TrainingRun(folder, config).checkpoint
    if state is None:
        raise InputError(
            f"'{folder}' holds a training run without a checkpoint yet: wait for its first report"
        )
    blends = None if config.survey == "euclid" else _blend_composers(config)
    network = _network(config, 1 if blends is None else blends[0].n_bands)
    network.set_weights([state[f"average/{i}"] for i in range(len(network.weights))])
    return network


def _network(config: TrainingConfig, n_bands: int) -> ProbaUNet:
    """Return the network to train, for images of so many bands."""
    from btk_punet.model.proba_unet import ProbaUNet

    choices = dict(config.model)
    try:
        if choices.setdefault("n_bands", n_bands) != n_bands:
            raise InputError(f"the stamps have {n_bands} bands: leave n_bands out")
        return ProbaUNet(**choices)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"expected model as arguments of ProbaUNet, got {dict(config.model)}: {error}"
        ) from error


def _take_weights(weights: str, network: ProbaUNet) -> None:
    """Give a network the weights of another that is built alike, but may lack some parts."""
    from btk_punet.model.proba_unet import open_network

    start, _ = open_network(weights)
    theirs, ours = start.get_config(), network.get_config()
    new = {}  # parts that are at first without effect
    theirs_of_context, ours_of_context = start.context_dilations, network.context_dilations
    if ours_of_context[: len(theirs_of_context)] == theirs_of_context != ours_of_context:
        new["context"] = "context_dilations"
    if network.told_density and not start.told_density:
        new["conditioning"] = "told_density"
    unlike = [
        f"{key}: {theirs[key]} there, {value} here"
        for key, value in ours.items()
        if key != "name" and key not in new.values() and theirs[key] != value
    ]
    if unlike:
        raise InputError(
            f"expected initial_weights of a network as model describes it, got '{weights}', which "
            f"differs ({'; '.join(unlike)}): change model to that network's arguments"
        )
    for part in ("encoder", "decoder", "features", "prior_head", "posterior_encoder",
                 "posterior_head", "head", "context", "conditioning"):  # fmt: skip
        ours_of_part, theirs_of_part = getattr(network, part), getattr(start, part)
        if ours_of_part is not None and theirs_of_part is not None:
            taken = theirs_of_part.get_weights()
            # Further dilated convolutions follow those that it has.
            ours_of_part.set_weights(taken + ours_of_part.get_weights()[len(taken) :])
    if new:
        names = ", ".join(f"{part} ({key})" for part, key in new.items())
        print(f"Weights of '{weights}'; new, and without effect at first: {names}.")


def _seeds(config: TrainingConfig) -> list[int]:
    """Return the seeds of the stamps of training and of validation."""
    return [
        int(np.random.SeedSequence(config.seed, spawn_key=(stream,)).generate_state(1)[0])
        for stream in (_STAMPS, _HELD_OUT)
    ]


def _blend_composers(config: TrainingConfig) -> list[BlendComposer]:
    """Return what draws the stamps of one of BTK's surveys, for training and for validation."""
    # Here and not above: Euclid's stamps need neither BTK nor GalSim once there is a bank.
    from btk_punet.training.blends import BlendComposer

    return [
        BlendComposer(config.survey, str(config.catalog), config.stamp_size, seed)
        for seed in _seeds(config)
    ]


def _stamp_composers(config: TrainingConfig, bank: GalaxyBank) -> list[StampComposer]:
    """Return what composes Euclid's stamps, for training and, of other galaxies, validation."""
    held_out, rest = bank.split(HELD_OUT_EVERY)
    return [
        StampComposer(
            galaxies,
            config.stamp_size,
            seed,
            config.mix,
            max_exposures=config.max_exposures,
            masked_share=config.masked_share,
        )
        for galaxies, seed in zip((rest, held_out), _seeds(config), strict=True)
    ]


def _bank(
    bank: GalaxyBank | str | Path | None,
    config: TrainingConfig,
    run: TrainingRun,
    njobs: int,
    progress: bool,
    keep: bool = True,
) -> GalaxyBank:
    """Return the bank that was given, or the run's own, drawn (and kept) when it is not there."""
    if isinstance(bank, GalaxyBank):
        return bank
    if bank is not None:
        return GalaxyBank.load(bank)
    path = run.folder / BANK_FILE
    if path.is_file():
        return GalaxyBank.load(path)
    # Here and not above: a machine that only trains needs neither GalSim nor BTK.
    from btk_punet.training.drawing import draw_bank

    drawn = draw_bank(
        config.n_galaxies,
        seed=config.seed,
        njobs=njobs,
        progress=progress,
        real_galaxies=config.real_galaxies,
    )
    if keep:
        drawn.save(path)
    return drawn


def _in_bfloat16(precision: str) -> bool:
    if precision != "auto":
        return precision == "bfloat16"
    # Processors that multiply in bfloat16 (AMX, AVX-512); on others it is emulated, and slow.
    try:
        flags = Path("/proc/cpuinfo").read_text()
        return "amx_bf16" in flags or "avx512_bf16" in flags
    except OSError:
        return False


@contextmanager
def _precision(policy: str):
    """Set Keras' policy for the layers that are made within."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _versions(backend: str) -> dict[str, str]:
    versions = {"python": platform.python_version(), "btk_punet": __version__}
    for package in ("numpy", "keras", backend):
        versions[package] = metadata.version(package)
    return versions
