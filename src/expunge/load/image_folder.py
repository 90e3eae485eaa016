"""Rows from a folder of images: folder/class/name.png."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from expunge.errors import InputError, SchemaError
from expunge.load.target import Classes
from expunge.rows import Rows
from expunge.schema import Array

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff"})


def rows_from_images(folder: Path | str, *, classes: Classes = None, grey: bool = False) -> Rows:
    """One row an image: id its path within the folder, `x` its pixels, y the code of its folder's name.

    Args:
        folder: holds one folder a class. classes: their names in the order of their codes; default all, sorted.
        grey: reads (n, h, w) uint8; default so where no image has colours, else (n, h, w, 3).

    Raises:
        InputError: no image is there, or one cannot be read. SchemaError: sizes differ, or a folder is no class.
    """
    root = Path(folder)
    paths = sorted(p for p in root.glob("*/*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"{root} holds no images in folders of their class (folder/class/name.png).")
    found = sorted({path.parent.name for path in paths})
    names = found if classes is None or isinstance(classes, int) else [str(name) for name in classes]
    if unknown := sorted(set(found) - set(names)):
        raise SchemaError(f"Folder(s) {unknown} are no declared class; the classes are {names}.")
    if isinstance(classes, int) and classes != len(names):
        raise SchemaError(f"{classes} classes were declared; the folders are {names}.")
    pixels = [_pixels(path, grey) for path in paths]
    if any(array.ndim > 2 for array in pixels):
        pixels = [array if array.ndim > 2 else np.repeat(array[:, :, None], 3, axis=2) for array in pixels]
    for path, array in zip(paths, pixels, strict=True):
        if array.shape != pixels[0].shape:
            raise SchemaError(f"{path} is {array.shape[:2]}; {pixels[0].shape[:2]} was expected, as {paths[0]} is.")
    codes = np.array([names.index(path.parent.name) for path in paths], dtype=np.int64)
    return Rows.of(np.stack(pixels), codes, ids=[p.relative_to(root).as_posix() for p in paths], classes=names)


def _pixels(path: Path, grey: bool) -> Array:
    try:
        from PIL import Image  # an extra
    except ImportError as error:
        raise InputError("Images need pillow: install the extra with pip install 'expunge[data]'.") from error
    try:
        with Image.open(path) as image:
            mode = "L" if grey or image.mode in ("L", "1", "LA", "I;16") else "RGB"
            return np.asarray(image.convert(mode), dtype=np.uint8)
    except OSError as error:
        raise InputError(f"{path} cannot be read as an image: {error}") from error
