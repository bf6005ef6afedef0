"""What the headers of activation files say: found in milliseconds, before any row is read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from archsearch.activations.splits import SHARES, SPLITS
from archsearch.errors import Problem, nearest
from archsearch.spec.activations import FileSource

_FLOATS = frozenset({"float16", "float32", "float64", "F16", "BF16", "F32", "F64"})
_NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class Header:
    """One tensor of a file: its shape and number format."""

    shape: tuple[int, ...]
    format: str


class _Unusable(Exception):
    """A file whose header cannot be used; `key` is the setting that is wrong, if not the file's name."""

    def __init__(self, what: str, key: str = ""):
        super().__init__(what)
        self.key = key


def file_problems(spec: FileSource) -> list[Problem]:
    """Returns what is wrong with the files of a source as far as their headers tell, with the path of the setting (`path`, `hook`)."""
    files = {"path": spec.path} if spec.path else {f"paths.{split}": (spec.paths or {})[split] for split in SPLITS}
    found: dict[str, Mapping[str, Header]] = {}
    problems: list[Problem] = []
    for place, path in files.items():
        try:
            found[place] = read_headers(Path(path), spec.hooks)
            _check(path, found[place])
        except _Unusable as error:
            problems.append(Problem(str(error), error.key or place))
    if problems:
        return list(dict.fromkeys(problems))
    return _together(files, found) + (_too_few(files["path"], found["path"]) if spec.path else [])


def _together(files: Mapping[str, str], found: Mapping[str, Mapping[str, Header]]) -> list[Problem]:
    """Returns what is wrong with files that are each fine."""
    first, *others = found
    for place in others:
        if tuple(found[place]) != tuple(found[first]):
            held = f"{files[place]!r} holds {list(found[place])}, not {list(found[first])}"
            return [Problem(f"files of different splits must hold the same tensors; {held}", place)]
    widths = sorted({header.shape[1] for headers in found.values() for header in headers.values()})
    if len(widths) > 1:
        return [Problem(f"all tensors must have one width; {', '.join(files.values())} have widths {widths}", first.split(".")[0])]
    return []


def _too_few(path: str, headers: Mapping[str, Header]) -> list[Problem]:
    total = next(iter(headers.values())).shape[0]
    if all(end > start for start, end in itertools.pairwise(block_edges(total))):
        return []
    return [Problem(f"{path!r} holds {total} rows, too few to be cut into four splits; give more rows, or `paths`", "path")]


def block_edges(total: int) -> list[int]:
    """Returns where one file of `total` rows is cut into the blocks of the four splits."""
    return [round(share * total) for share in itertools.accumulate([0.0, *(SHARES[split] for split in SPLITS)])]


def read_headers(path: Path, wanted: tuple[str, ...]) -> dict[str, Header]:
    """Returns the tensors that a source asks of a file, by name."""
    if path.is_dir():
        raise _Unusable(f"an activation file must be a file; {str(path)!r} is a folder")
    if not path.is_file():
        raise _Unusable(f"an activation file must exist; {str(path)!r} does not")
    if path.suffix == ".npy":
        if wanted:
            raise _Unusable(f"a .npy file holds one tensor without a name; remove `hook: {list(wanted)}` for {str(path)!r}", "hook")
        return {"x": _npy(path)}
    if path.suffix == ".safetensors":
        return _safetensors(path, wanted)
    raise _Unusable(f"an activation file must end in .npy or .safetensors; got {str(path)!r}")


def _npy(path: Path) -> Header:
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version not in _NPY_HEADERS:
                raise _Unusable(f"{str(path)!r} must be a .npy file of numbers; its format {version} is for named columns")
            shape, _, dtype = _NPY_HEADERS[version](file)
            begin = file.tell()
    except (ValueError, EOFError):
        raise _Unusable(f"{str(path)!r} must be a .npy file of numbers, as `numpy.save` writes; its header cannot be read") from None
    except OSError as error:
        raise _Unusable(f"{str(path)!r} cannot be read: {error.strerror}") from None
    if dtype.hasobject:
        raise _Unusable(f"{str(path)!r} must hold floats of 16, 32 or 64 bits; it holds Python objects, which are never loaded")
    needed, size = begin + math.prod(shape) * dtype.itemsize, path.stat().st_size
    if size < needed:
        raise _Unusable(
            f"{str(path)!r} must be a whole .npy file; shape {shape} needs {needed:,} bytes, it holds {size:,}: it was cut short"
        )
    return Header(shape, dtype.name if dtype.isnative else f"{dtype.str} (bytes swapped)")


def _safetensors(path: Path, wanted: tuple[str, ...]) -> dict[str, Header]:
    try:
        with safe_open(path, framework="numpy") as file:
            held = sorted(file.keys())
            if not wanted and len(held) != 1:
                what = f"{str(path)!r} must hold one tensor, or `hook` must name which; it holds: {', '.join(held) or 'none'}"
                raise _Unusable(what, "hook" if held else "")
            for name in wanted:
                if name not in held:
                    raise _Unusable(f"{str(path)!r} has no tensor {name!r}; {nearest(name, held)}", "hook")
            slices = {name: file.get_slice(name) for name in wanted or held}
            return {name: Header(tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
    except SafetensorError as error:
        raise _Unusable(f"{str(path)!r} must be a safetensors file: {error}") from None
    except OSError as error:
        raise _Unusable(f"{str(path)!r} cannot be read: {error.strerror or error}") from None


def _check(path: str, headers: Mapping[str, Header]) -> None:
    for name, header in headers.items():
        if header.format not in _FLOATS:
            raise _Unusable(f"{path!r} must hold floats of 16, 32 or 64 bits; {name!r} holds {header.format}")
        if len(header.shape) != 2 or 0 in header.shape:
            raise _Unusable(f"activations must be 2-D [rows, model] and not empty; {name!r} in {path!r} has shape {header.shape}")
    if len({header.shape[0] for header in headers.values()}) > 1:
        raise _Unusable(f"tensors read together must have as many rows as each other; {path!r} has differing ones")
