"""An image beside copies colored by masks, as HTML for reports."""

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from hamgan.segmentation.data.palette import overlay, side_by_side, voc_palette

_SIDE = 320
"""Longer side of the shown images, in pixels."""
_QUALITY = 85
_OPACITY = 0.6


def overlay_figure(image: np.ndarray, masks: Sequence[np.ndarray], class_names: Sequence[str], name: str) -> str:
    """Returns a figure: the image, and beside it a copy colored by each mask; the caption names the classes.

    Args:
        image: RGB, uint8, shape ``(height, width, 3)``.
        masks: classes, uint8, each of shape ``(height, width)``.
        class_names: name of each class.
        name: name of the image, plain text.
    """
    factor = _SIDE / max(image.shape[:2])
    width, height = (max(1, round(side * factor)) for side in image.shape[1::-1])
    small = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
    colored = [
        overlay(
            small,
            np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)),
            opacity=_OPACITY,
        )
        for mask in masks
    ]
    buffer = io.BytesIO()
    Image.fromarray(side_by_side(small, *colored)).save(buffer, "JPEG", quality=_QUALITY)
    source = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    present = np.unique(np.concatenate([np.unique(mask) for mask in masks])).tolist()
    legend = ", ".join(_legend(class_names, label) for label in present if label < len(class_names))
    caption = f"{html.escape(name)}: {legend or 'nothing'}"
    return f'<figure><img src="{source}" alt="{html.escape(name)}"><figcaption>{caption}</figcaption></figure>'


def _legend(class_names: Sequence[str], label: int) -> str:
    if label == 0:
        return html.escape(class_names[label])
    color = bytes(voc_palette()[label].tolist()).hex()
    return f'<span style="color:#{color}">■</span> {html.escape(class_names[label])}'
