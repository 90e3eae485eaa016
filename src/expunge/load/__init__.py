"""Rows from what people have: data frames, CSV, Parquet, JSON lines, npz, folders of images; and back to a frame."""

from expunge.load.arrays import rows_from_npz
from expunge.load.files import rows_from_csv, rows_from_file, rows_from_parquet
from expunge.load.frames import frame_of, rows_from_frame
from expunge.load.image_folder import rows_from_images

__all__ = [
    "frame_of",
    "rows_from_csv",
    "rows_from_file",
    "rows_from_frame",
    "rows_from_images",
    "rows_from_npz",
    "rows_from_parquet",
]
