"""Nested Python values in an HDF5 file and back, equal: types, units, dtypes and order.

A dict, list or table is a group, anything else a data set; the attribute ``kind`` tells which. Any
HDF5 reader sees the arrays by their names. Nothing in a file is ever run when it is read.
"""

import ast
import json
from typing import Any
from urllib.parse import quote, unquote

import astropy.units as u
import h5py
import numpy as np
from astropy.table import Column, MaskedColumn, QTable, Table

from btk_punet.errors import InputError, InputTypeError

# Smaller arrays are not worth a compressed chunk, which takes more room than it saves.
_SMALLEST_COMPRESSED_BYTES = 4096
# Level 1 packs noise and zeros about as well as the higher ones, several times faster.
_COMPRESSION = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


def write_value(group: h5py.Group, name: str, value: Any, path: str = "") -> h5py.HLObject:
    """Write a value below a group.

    Args:
        group: Where to.
        name: Name of the group or data set to make.
        value: None, a bool, number or string; a NumPy array (also masked, of strings, structured,
            or of objects that are such values) or scalar; an astropy Quantity or Table; or a
            dict with string keys, list or tuple of such values.
        path: What the value is called in error messages.

    Returns:
        The group or data set.

    Raises:
        InputTypeError: for a value of another type.
        InputError: for a unit that astropy cannot read back.
    """
    path = path or name
    kind, parts = "json", None
    if isinstance(value, np.generic):
        return _mark(_write_array(group, name, np.asarray(value), path), "scalar")
    if value is None or isinstance(value, bool | int | float | str):
        dataset = group.create_dataset(name, data=json.dumps(value), dtype=h5py.string_dtype())
        return _mark(dataset, kind)
    if isinstance(value, u.Quantity) and type(value) is u.Quantity:
        node = _write_array(group, name, value.value, path)
        node.attrs["unit"] = _unit_text(value.unit, path)
        return _mark(node, "quantity")
    if isinstance(value, np.ma.MaskedArray):
        kind = "masked"
        parts = {
            "data": value.data,
            "mask": np.ma.getmaskarray(value),
            "fill_value": np.asarray(value.fill_value),
        }
    elif isinstance(value, np.ndarray) and value.dtype.kind == "O" and type(value) is np.ndarray:
        kind, parts = "objects", {"shape": value.shape, "items": value.ravel().tolist()}
    elif type(value) is np.ndarray:
        return _mark(_write_array(group, name, value, path), "array")
    elif isinstance(value, Table):
        return _write_table(group, name, value, path)
    elif isinstance(value, dict):
        kind, parts = "dict", value
    elif isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        parts = {str(index): item for index, item in enumerate(value)}
    if parts is None:
        raise InputTypeError(
            f"{path} is a {type(value).__module__}.{type(value).__name__}, which cannot be saved: "
            "expected None, bool, number, string, NumPy array, astropy Quantity or Table, or a "
            "dict, list or tuple of these. Convert it, for example with np.asarray."
        )
    node = group.create_group(name, track_order=True)
    for key, part in parts.items():
        if not isinstance(key, str):
            raise InputTypeError(f"The keys of {path} must be strings to be saved, got {key!r}.")
        label = key if kind in ("list", "tuple") else repr(key)
        write_value(node, _node_name(key), part, f"{path}[{label}]")
    return _mark(node, kind)


def read_value(node: h5py.HLObject) -> Any:
    """Return the value that `write_value` wrote."""
    kind = node.attrs["kind"]
    if kind == "json":
        return json.loads(node.asstr()[()])
    if kind == "array":
        return _read_array(node)
    if kind == "scalar":
        return _read_array(node)[()]
    if kind == "quantity":
        return u.Quantity(_read_array(node), _unit(node.attrs["unit"]), copy=False, dtype=None)
    if kind == "table":
        return _read_table(node)
    parts = {_key(name): read_value(part) for name, part in node.items()}
    if kind == "dict":
        return parts
    if kind in ("list", "tuple"):
        items = [parts[str(index)] for index in range(len(parts))]
        return items if kind == "list" else tuple(items)
    if kind == "masked":
        return np.ma.MaskedArray(parts["data"], parts["mask"], fill_value=parts["fill_value"])
    if kind == "objects":
        array = np.empty(len(parts["items"]), object)
        for index, item in enumerate(parts["items"]):
            array[index] = item
        return array.reshape(parts["shape"])
    raise InputError(f"{node.name} holds a value of unknown kind {kind!r}.")


def _mark(node: h5py.HLObject, kind: str) -> h5py.HLObject:
    node.attrs["kind"] = kind
    return node


def _node_name(key: str) -> str:
    # A slash starts a group in HDF5, "." is the group itself, and names are not empty.
    name = quote(key, safe=" ()[]{}<>=+,:;@&$!*'|^~#?\"", errors="surrogatepass")
    return {"": "%", ".": "%2E"}.get(name, name)


def _key(name: str) -> str:
    return "" if name == "%" else unquote(name, errors="surrogatepass")


def _write_array(group: h5py.Group, name: str, array: np.ndarray, path: str) -> h5py.Dataset:
    if array.dtype.hasobject:
        raise InputTypeError(
            f"{path} is a structured array with objects, which cannot be saved: give its fields "
            "NumPy types, or save a dict of arrays."
        )
    plain = array.dtype.kind in "biuf" and array.dtype.itemsize <= 8
    stored = array if plain else np.frombuffer(array.tobytes(), np.uint8)
    options = _COMPRESSION if stored.nbytes >= _SMALLEST_COMPRESSED_BYTES else {}
    dataset = group.create_dataset(name, data=stored, **options)
    if not plain:  # strings, dates, complex and structured: HDF5 changes or lacks them
        dataset.attrs["dtype"] = repr(np.lib.format.dtype_to_descr(array.dtype))
        dataset.attrs["shape"] = json.dumps(array.shape)
    return dataset


def _read_array(dataset: h5py.Dataset) -> np.ndarray:
    stored = np.asarray(dataset[()])
    if "dtype" not in dataset.attrs:
        return stored
    dtype = np.lib.format.descr_to_dtype(ast.literal_eval(dataset.attrs["dtype"]))
    if dtype.hasobject:
        raise InputError(
            f"{dataset.name} says that it holds Python objects ({dtype}), which are not read from "
            "files: expected numbers, text or dates."
        )
    shape = json.loads(dataset.attrs["shape"])
    if dtype.itemsize == 0:
        return np.zeros(shape, dtype)
    return np.frombuffer(stored.tobytes(), dtype).reshape(shape).copy()


def _write_table(group: h5py.Group, name: str, table: Table, path: str) -> h5py.Group:
    # Column by column, so that names may differ by case alone and each keeps its type; astropy's
    # own HDF5 tables change the types of strings.
    node = group.create_group(name, track_order=True)
    columns = node.create_group("columns", track_order=True)
    for key in table.colnames:
        column, where = table[key], f"{path}[{key!r}]"
        if isinstance(column, MaskedColumn):
            values: Any = np.ma.MaskedArray(
                column.data.data, np.ma.getmaskarray(column.data), fill_value=column.fill_value
            )
        elif isinstance(column, Column):
            values = np.asarray(column.data)
        else:
            values = column
        child = write_value(columns, _node_name(key), values, where)
        if isinstance(column, Column) and column.unit is not None:
            child.attrs["column_unit"] = _unit_text(column.unit, where)
        for detail in ("description", "format"):
            text = getattr(column.info, detail)
            if isinstance(text, str):
                child.attrs[detail] = json.dumps(text)
        if column.info.meta:
            write_value(node, f"meta of {_node_name(key)}", dict(column.info.meta), f"{where}.meta")
    if table.meta:
        write_value(node, "meta", dict(table.meta), f"{path}.meta")
    node.attrs["class"] = "QTable" if isinstance(table, QTable) else "Table"
    return _mark(node, "table")


def _read_table(node: h5py.Group) -> Table:
    table = QTable() if node.attrs["class"] == "QTable" else Table()
    for name, child in node["columns"].items():
        values, key = read_value(child), _key(name)
        if isinstance(values, np.ma.MaskedArray):
            values = MaskedColumn(values, fill_value=values.fill_value)
        elif isinstance(values, np.ndarray) and not isinstance(values, u.Quantity):
            values = Column(values)
        if isinstance(values, Column) and "column_unit" in child.attrs:
            values.unit = _unit(child.attrs["column_unit"])
        table.add_column(values, name=key, copy=False)
        info = table[key].info
        for detail in ("description", "format"):
            if detail in child.attrs:
                setattr(info, detail, json.loads(child.attrs[detail]))
        if f"meta of {name}" in node:
            info.meta = read_value(node[f"meta of {name}"])
    if "meta" in node:
        table.meta.update(read_value(node["meta"]))
    return table


def _unit_text(unit: u.UnitBase, path: str) -> str:
    text = unit.to_string()
    if _unit(text) != unit:
        raise InputError(
            f"The unit {unit!r} of {path} cannot be saved, since astropy does not read its name "
            f"{text!r} back as the same unit. Convert it to a unit that astropy knows."
        )
    return text


def _unit(text: str) -> u.UnitBase:
    return u.Unit(text, parse_strict="silent")
