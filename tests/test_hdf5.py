"""HDF5 files that lead out of themselves, or that are more than they hold, are not read."""

import h5py
import numpy as np
import pytest

from btk_punet.errors import InputError
from btk_punet.hdf5 import check_self_contained


@pytest.fixture
def elsewhere(tmp_path):
    """Another file of the machine, whose values are nobody's business."""
    path = tmp_path / "elsewhere.h5"
    with h5py.File(path, "w") as file:
        file["secret"] = np.arange(16.0)
    return path


def external_storage(file, elsewhere):
    file.create_dataset("a/bad", (4,), "f8", external=[(str(elsewhere), 0, 32)])


def external_link(file, elsewhere):
    file["a/bad"] = h5py.ExternalLink(str(elsewhere), "/secret")


def virtual(file, elsewhere):
    layout = h5py.VirtualLayout((16,), "f8")
    layout[:] = h5py.VirtualSource(str(elsewhere), "secret", (16,))
    file.create_virtual_dataset("a/bad", layout)


def soft_link(target):
    def add(file, elsewhere):
        file["a/bad"] = h5py.SoftLink(target)

    return add


def second_name(file, elsewhere):
    file["a/bad"] = file["b/values"]


def loop(file, elsewhere):
    file["a/bad"] = file["a"]


def references(file, elsewhere):
    file["a"].create_dataset("bad", data=[file["b"].ref], dtype=h5py.ref_dtype)


def uneven_arrays(file, elsewhere):
    dataset = file["a"].create_dataset("bad", (2,), h5py.vlen_dtype(float))
    dataset[0] = [1.0, 2.0]


def nothing_stored(file, elsewhere):
    file.create_dataset("a/bad", (10**12,), "f8", chunks=(1000,), compression="gzip")


def hardly_stored(file, elsewhere):
    dataset = file.create_dataset("a/bad", (10**12,), "f8", chunks=(1000,), compression="gzip")
    dataset[:1000] = 1.0


BAD = {
    external_storage: r"keeps its values in another file \('.*elsewhere.h5'\)",
    external_link: "is a link to somewhere else",
    virtual: "is a virtual data set",
    soft_link("/b/values"): "is a link to somewhere else",
    soft_link("/nowhere"): "is a link to somewhere else",
    soft_link("/"): "is a link to somewhere else",
    second_name: "is a second name of what the file holds elsewhere",
    loop: "is a second name of what the file holds elsewhere",
    references: "holds references or objects",
    uneven_arrays: "holds references or objects",
    nothing_stored: "claims 8,000,000,000,000 bytes, of which the file holds 0",
    hardly_stored: "claims 8,000,000,000,000 bytes, of which the file holds",
}
IDS = [
    "external storage",
    "external link",
    "virtual data set",
    "soft link within",
    "soft link to nothing",
    "soft link to the root",
    "two names",
    "loop",
    "references",
    "arrays of any length",
    "nothing stored",
    "hardly anything stored",
]
bad_file = pytest.mark.parametrize(("spoil", "message"), BAD.items(), ids=IDS)


def test_empty_file(tmp_path):
    with h5py.File(tmp_path / "file.h5", "w") as file:
        assert check_self_contained(file) == []


def test_plain_file(tmp_path):
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["a/values"] = np.arange(3.0)
        file["a/none"] = np.zeros((0, 5))
        file["a/text"] = "text"
        file["nothing"] = h5py.Empty("f8")
        file["number"] = 3.0
        file.create_dataset("ä/zeros", data=np.zeros((20, 64, 64), bool), compression="gzip")
        names = check_self_contained(file)
    assert names == ["/a/none", "/a/text", "/a/values", "/nothing", "/number", "/ä/zeros"]


@bad_file
def test_bad_files(spoil, message, tmp_path, elsewhere):
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file["b/values"] = np.arange(3.0)
        file.create_group("a")
        spoil(file, elsewhere)
    with (
        h5py.File(path) as file,
        pytest.raises(InputError, match=f"file.h5' is not read: '/[ab]/(bad|values)' {message}"),
    ):
        check_self_contained(file)
