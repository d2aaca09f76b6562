"""Sections of the report about a folder of pictures: the classes, and some of the pictures as they were written."""

import base64
import html
import io
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

from hamgan.html_page import html_table

MAX_CLASSES = 100
"""Maximum number of classes whose pictures are shown."""
PICTURES_PER_CLASS = 8
_SIDE = 64
_QUALITY = 85


def class_table(class_names: Sequence[str], per_class: Mapping[str, np.ndarray]) -> str:
    """Returns a table of the number of pictures written for each class and split, as HTML.

    Args:
        class_names: name of each class, by label.
        per_class: number of pictures written for each label, in each split.
    """
    columns = (per_class[split].tolist() for split in per_class)
    rows = zip(
        map(str, range(len(class_names))), class_names, *([f"{n:,}" for n in each] for each in columns), strict=True
    )
    return html_table(("label", "class", *per_class), rows)


def picture_grid(class_names: Sequence[str], records: Sequence[str], per_class: np.ndarray) -> str:
    """Returns the first pictures of each class as HTML, read back from the records.

    Args:
        class_names: name of each class, by label.
        records: paths of the record files.
        per_class: number of pictures in these files for each label.
    """
    wanted = np.minimum(per_class[:MAX_CLASSES], PICTURES_PER_CLASS)
    pictures: list[list[bytes]] = [[] for _ in wanted]
    missing = int(wanted.sum())
    for label, picture in _examples(records):
        if not missing:
            break
        if label < len(wanted) and len(pictures[label]) < wanted[label]:
            pictures[label].append(picture)
            missing -= 1
    figures = [_figure(name, some) for name, some in zip(class_names, pictures, strict=False) if some]
    rest = len(class_names) - len(wanted)
    note = f"<p>The first {len(wanted)} of {len(class_names):,} classes.</p>" if rest > 0 else ""
    return f'{note}<div class="grids">{"".join(figures)}</div>' if figures else ""


def _figure(name: str, pictures: Sequence[bytes]) -> str:
    caption = html.escape(name)
    return f'<figure><img src="{_strip(pictures)}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'


def _examples(records: Sequence[str]) -> Iterator[tuple[int, bytes]]:
    for record in tf.data.TFRecordDataset(list(records)).as_numpy_iterator() if records else ():
        features = tf_example_pb2.Example.FromString(record).features.feature
        yield features["label"].int64_list.value[0], features["image"].bytes_list.value[0]


def _strip(pictures: Sequence[bytes]) -> str:
    """Returns pictures side by side as a data URI."""
    strip = Image.new("RGB", (_SIDE * PICTURES_PER_CLASS, _SIDE), "white")
    for index, picture in enumerate(pictures):
        with Image.open(io.BytesIO(picture), formats=("PNG",)) as image:
            strip.paste(image.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC), (index * _SIDE, 0))
    buffer = io.BytesIO()
    strip.save(buffer, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
