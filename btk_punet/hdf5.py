"""HDF5 files of strangers: read only if all that they hold lies in them, each thing once.

HDF5 can keep an array in any other file of the machine, and join files by links and by virtual data
sets: to read such a file is to read what it names. It can also name one group in many places, or an
array that fills the memory and takes no room in the file.
"""

from __future__ import annotations

import math

import h5py

from btk_punet.errors import InputError

# Deflate, HDF5's own compression, packs at most 1032 to 1.
_LARGEST_COMPRESSION = 1100


def check_self_contained(file: h5py.File) -> list[str]:
    """Check that an open file holds plain arrays, groups of them, and nothing that leads elsewhere.

    Nothing of the arrays is read.

    Args:
        file: The file.

    Returns:
        The full names of the data sets, sorted.

    Raises:
        InputError: for a link that is not a hard one, an object with two names, external storage,
            a virtual data set, references, objects that are not text, or a data set that is larger
            than what is stored of it can be. It names the first of them.
    """
    names: list[str] = []
    groups, seen = [("", file["/"])], {_address(file["/"])}
    while groups:
        above, group = groups.pop()
        for name in group:
            where = f"{above}/{name}"
            if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
                raise _refused(file, where, "is a link to somewhere else")
            node = group[name]
            if _address(node) in seen:
                raise _refused(file, where, "is a second name of what the file holds elsewhere")
            seen.add(_address(node))
            if isinstance(node, h5py.Group):
                groups.append((where, node))
            elif isinstance(node, h5py.Dataset):
                if problem := _problem(node):
                    raise _refused(file, where, problem)
                names.append(where)
    return sorted(names)


def _problem(dataset: h5py.Dataset) -> str:
    if dataset.external:
        return f"keeps its values in another file ('{dataset.external[0][0]}')"
    if dataset.is_virtual:
        return "is a virtual data set, put together of other data sets"
    if dataset.dtype.hasobject and h5py.check_string_dtype(dataset.dtype) is None:
        return f"holds references or objects ({dataset.dtype})"
    n_bytes = math.prod(dataset.shape or ()) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    if dataset.shape is not None and n_bytes > _LARGEST_COMPRESSION * stored:
        return f"claims {n_bytes:,} bytes, of which the file holds {stored:,}"
    return ""


def _address(node: h5py.HLObject) -> int:
    return h5py.h5o.get_info(node.id).addr


def _refused(file: h5py.File, where: str, problem: str) -> InputError:
    return InputError(
        f"'{file.filename}' is not read: '{where}' {problem}. Expected arrays and groups that lie "
        "in the file itself. Ask whoever made it for a file that this package wrote."
    )
