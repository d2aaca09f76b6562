"""Sections of the report about images with masks: the classes, and some images beside their masks, as written."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

from data_prep.masked_images import MaskValues
from hamgan.html_page import html_table
from hamgan.segmentation.prediction.overlay_figure import overlay_figure

IMAGES_PER_SPLIT = 8


def masked_sections(
    values: MaskValues, records: Mapping[str, Sequence[str]], per_class: Mapping[str, np.ndarray]
) -> dict[str, str]:
    """Returns the sections of a report, HTML by heading.

    Args:
        values: classes and their values in the source.
        records: paths of the record files of each split.
        per_class: number of images in each split that show each class.
    """
    sections = {"Classes": _class_table(values, per_class)}
    for split, paths in records.items():
        sections[f"First images of {split}"] = overlay_grid(values.class_names, paths)
    return sections


def _class_table(values: MaskValues, per_class: Mapping[str, np.ndarray]) -> str:
    header = ("label", "value in the source", "class", *(f"images in {split}" for split in per_class))
    columns = ([f"{count:,}" for count in counts.tolist()] for counts in per_class.values())
    labels, in_source = range(len(values.class_names)), values.value_of_class
    rows = list(zip(map(str, labels), map(str, in_source), values.class_names, *columns, strict=True))
    ignored = ", ".join(map(str, values.ignored)) or "none"
    return html_table(header, [*rows, ("255", ignored, "(to ignore)", *("" for _ in per_class))])


def overlay_grid(class_names: Sequence[str], records: Sequence[str]) -> str:
    """Returns the first images of a split as HTML, each beside a copy colored by its mask, read back from the records.

    Args:
        class_names: name of each class, by label.
        records: paths of the record files.
    """
    figures = []
    if records:
        for record in tf.data.TFRecordDataset(list(records)).take(IMAGES_PER_SPLIT).as_numpy_iterator():
            features = tf_example_pb2.Example.FromString(record).features.feature
            image, mask, name = (features[key].bytes_list.value[0] for key in ("image", "mask", "file_name"))
            figures.append(_figure(class_names, image, mask, name.decode(errors="replace")))
    return f'<div class="grids">{"".join(figures)}</div>' if figures else ""


def _figure(class_names: Sequence[str], image_data: bytes, mask_data: bytes, name: str) -> str:
    with Image.open(io.BytesIO(image_data)) as image, Image.open(io.BytesIO(mask_data)) as mask:
        return overlay_figure(np.asarray(image.convert("RGB")), [np.asarray(mask)], class_names, name)
