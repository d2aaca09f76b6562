"""How masks are stored: the class of each pixel as uint8, and one value for pixels without a class."""

__all__ = ["IGNORED"]

IGNORED = 255
"""Value of pixels that count neither in training nor in scores, such as the borders of PASCAL VOC."""

MAX_CLASSES = IGNORED
"""Largest number of classes: values 0 to 254."""
