"""The interface between a set of images and its preparation: ImageNet is one collection, a folder of pictures another.

A collection finds, labels and converts its images. Everything else (shards, records, the report, resuming) is common to
all collections: see :mod:`data_prep.prepare`.
"""

import abc
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from data_prep.forms import Form
from data_prep.listing import Listing
from data_prep.local_workers import LocalWorkers
from data_prep.problems import Problem


class DamagedImageError(Exception):
    """An image file cannot be decoded."""


class Conversion(abc.ABC):
    """Converts the content of an image file to what forms store. Instances are picklable, to be sent to workers."""

    @property
    @abc.abstractmethod
    def settings(self) -> str:
        """Everything besides the images and the form that records depend on. Part of every fingerprint."""

    @abc.abstractmethod
    def image_name(self, image: np.void) -> str:
        """Returns the name of an image for messages.

        Args:
            image: element of ``Listing.images``.
        """

    @abc.abstractmethod
    def class_key(self, label: int) -> bytes:
        """Returns what distinguishes images that have the same name in several classes.

        Args:
            label: label of the class.
        """

    def files(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns the files that images consist of, by default one each.

        Args:
            images: a part of ``Listing.images``.

        Returns:
            Arrays of the same length, each with the fields "name", "container", "offset" and "size" of a listing.
        """
        return (images,)

    def labels(self, image: np.void) -> Iterable[int]:
        """Returns the labels that an image counts for, by default its only one.

        Args:
            image: element of ``Listing.images``.
        """
        return (int(image["label"]),)

    @abc.abstractmethod
    def convert(self, image: np.void, contents: Sequence[bytes]) -> tuple[Any, str | None, str]:
        """Converts an image.

        Args:
            image: element of ``Listing.images``.
            contents: content of each of its files.

        Returns:
            The argument of ``Form.image_feature``; the kind of problem (key of ``data_prep.problems.KINDS``) or None;
            and a description of the problem.

        Raises:
            DamagedImageError: the image cannot be used.
        """

    @abc.abstractmethod
    def num_shards(self, images: np.ndarray) -> int:
        """Returns the number of record files that the images of a split are divided into.

        Args:
            images: images of the split, a part of ``Listing.images``.
        """


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a collection holds.

    Args:
        class_names: name of each class, by label.
        splits: images of each split, at least one.
        sources: path that the images of each split are read from.
        problems: problems found while listing.
        conversion: conversion of the images.
    """

    class_names: tuple[str, ...]
    splits: dict[str, Listing]
    sources: Mapping[str, str]
    problems: list[Problem]
    conversion: Conversion


class Collection(abc.ABC):
    """Labeled images to prepare."""

    @property
    @abc.abstractmethod
    def title(self) -> str:
        """Name of the collection for messages."""

    @property
    @abc.abstractmethod
    def options(self) -> str:
        """Options that decide on the content of the records, for messages, such as "selection or another --check"."""

    @property
    def per_class(self) -> int | None:
        """Maximum number of images per class in each split, the first ones in shuffled order; None for all."""
        return None

    @abc.abstractmethod
    def find(self, workers: LocalWorkers) -> Contents:
        """Finds and labels all images.

        Args:
            workers: processes to use.

        Raises:
            UserError: the source cannot be read, is not safe, or holds no images.
        """

    @abc.abstractmethod
    def report_settings(self) -> dict[str, Any]:
        """Returns what ``preparation.json`` records of the request; "subset" is required."""

    @abc.abstractmethod
    def remarks(self) -> list[str]:
        """Returns what the report's summary says of the request."""

    def images_per_class(self, images: np.ndarray, num_classes: int) -> np.ndarray:
        """Returns the number of images of each class, for the report.

        Args:
            images: images of a split, ``Listing.images``.
            num_classes: number of classes.
        """
        return np.bincount(images["label"], minlength=num_classes)

    def expected_images(self, split: str) -> str | None:
        """Returns how many images the split should have, for the report; None if nothing is known about that.

        Args:
            split: name of the split.
        """
        return None

    def form_problems(self, form: Form, contents: Contents) -> list[Problem]:
        """Returns the problems of all images in one form.

        Args:
            form: form of the data set.
            contents: result of :meth:`find`.
        """
        return []

    def report_sections(
        self, contents: Contents, records: Mapping[str, list[str]], per_class: Mapping[str, np.ndarray]
    ) -> dict[str, str]:
        """Returns further sections of the report page, HTML by heading.

        Args:
            contents: result of :meth:`find`.
            records: paths of the finished record files of each split.
            per_class: number of images written for each label, in each split.
        """
        return {}
