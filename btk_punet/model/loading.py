"""Reading a saved network: what is wrong with its files is said before anything comes of it.

Keras reads the weights that it looks for and leaves others aside, and a network with a NaN in it
says "certainly empty" of every image: both would be wrong in silence.
"""

import inspect
import tempfile
from pathlib import Path

import h5py
import numpy as np

from btk_punet.errors import InputError
from btk_punet.files import read_json
from btk_punet.hdf5 import check_self_contained
from btk_punet.model.inputs import check_choices
from btk_punet.model.weights import CONFIG_FILE, WEIGHTS_FILE, missing_files

# How many differences between a file and its network are told.
_MOST_NAMED = 3


def load_network(kind, folder):
    """Return the network of a folder.

    Args:
        kind: The class, `ProbaUNet`.
        folder: Path of what its ``save`` wrote.

    Raises:
        InputError: if the folder holds no such network.
    """
    folder = Path(folder)
    missing = missing_files(folder)
    if missing:
        raise InputError(
            f"expected a folder with {CONFIG_FILE} and {WEIGHTS_FILE}, got '{folder}' without "
            f"{' and '.join(missing)}; give a folder that ProbaUNet.save wrote"
        )
    weights = folder / WEIGHTS_FILE
    stored = _stored_arrays(weights)
    _check_finite(stored, f"'{weights}'")
    n_stored = sum(array.size for array in stored.values())
    network = _built(kind, folder / CONFIG_FILE, weights, n_stored)
    if len(stored) != len(network.weights) or n_stored != network.count_params():
        raise _other_network(network, folder, stored)
    try:
        network.load_weights(weights)
    except ValueError as error:  # as many weights, of other shapes
        raise _other_network(network, folder, stored) from error
    return network


def check_finite_weights(network):
    """Raise InputError if a network that was given as such has weights that are not finite."""
    arrays = zip(network.weights, network.get_weights(), strict=True)
    _check_finite({weight.path: values for weight, values in arrays}, "the network that was given")


def _check_finite(arrays, where):
    bad = []
    for name, values in arrays.items():
        with np.errstate(over="ignore"):
            n_bad = np.count_nonzero(~np.isfinite(values.astype("float32")))
        if n_bad:
            bad.append(f"'{name}' ({n_bad} of {values.size} NaN or infinite)")
    if bad:
        raise InputError(
            f"expected finite weights, got {len(bad)} of {len(arrays)} arrays with others in "
            f"{where}: {_some(bad)}; take the weights from where they came again, or train anew "
            "from a checkpoint before they broke"
        )


def _stored_arrays(path):
    """Return the arrays in a file of weights, by their names in it."""
    try:
        with h5py.File(path, "r") as file:
            arrays = {name: file[name][()] for name in check_self_contained(file)}
    except InputError:
        raise
    except Exception as error:  # h5py has many kinds for a damaged file
        raise InputError(
            f"'{path}' is damaged, or no file of weights ({type(error).__name__}: {error}); take "
            "it from where it came again"
        ) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray | np.floating) or array.dtype.kind != "f":
            raise InputError(
                f"expected weights as floating-point numbers, got {getattr(array, 'dtype', array)} "
                f"in '{name}' of '{path}'; give a file that ProbaUNet.save wrote"
            )
    return arrays


def _built(kind, path, weights, n_stored):
    """Return the network that a ``config.json`` describes, with weights of its own."""
    config = read_json(path)
    choices = {
        name: parameter.default
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }
    unknown = sorted(config.keys() - choices.keys() - {"name"})
    if unknown:
        raise InputError(
            f"expected in '{path}' some of {', '.join(choices)}, got {', '.join(unknown)} too; if "
            "a later version of btk_punet wrote it, install that"
        )
    try:
        choices |= config
        check_choices(**{key: choices[key] for key in choices.keys() - {"name", "class_weights"}})
        # Before it is built, which takes as much memory as the file says.
        n_least = _fewest_weights(choices)
        if n_least > n_stored:
            raise InputError(
                f"a network of these choices has {n_least:,} weights or more, and '{weights}' "
                f"holds {n_stored:,}"
            )
        return kind(**config)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"'{path}' describes no network that can be built: {error}; take it from where it came "
            "again, with its weights"
        ) from error


def _fewest_weights(choices):
    """Return a number of weights that no network of these choices goes below."""
    channels, dilations = choices["channels"], choices["context_dilations"]
    return (
        9 * sum(n**2 for n in channels)
        + 9 * len(dilations) * channels[-1] ** 2
        + choices["n_bands"] * channels[0]
        + choices["latent_channels"] * choices["head_channels"]
    )


def _other_network(network, folder, stored):
    with tempfile.TemporaryDirectory(prefix="btk_punet_") as scratch:
        path = Path(scratch) / WEIGHTS_FILE
        network.save_weights(path)
        expected = _stored_arrays(path)
    differences = [
        f"'{name}' should be {_shape(expected, name)}, and is {_shape(stored, name)}"
        for name in sorted(expected.keys() | stored.keys())
        if _shape(expected, name) != _shape(stored, name)
    ]
    return InputError(
        f"'{folder / WEIGHTS_FILE}' holds the weights of another network than '{CONFIG_FILE}' "
        f"describes: {_some(differences)}; give the two files that ProbaUNet.save wrote together"
    )


def _shape(arrays, name):
    return str(arrays[name].shape) if name in arrays else "absent"


def _some(texts):
    more = len(texts) - _MOST_NAMED
    return "; ".join(texts[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
