"""A split of a TFDS data set as images to score."""

from typing import Any

from hamgan.config import DataConfig
from hamgan.data.dataset import ClassificationDataset
from hamgan.data.preprocessing import PREPROCESSING
from hamgan.errors import UserError
from hamgan.evaluation.feature_extractor import FeatureExtractor
from hamgan.evaluation.features import DEFAULT_FOLDER
from hamgan.evaluation.image_sources import ImageSource
from hamgan.evaluation.stored_features import Batches

PREFIX = "tfds:"


class DatasetImages(ImageSource):
    """The images of a split, cropped and resampled as for training, with the features of ``hamgan evaluate``.

    Args:
        name: the source, ``tfds:NAME`` or ``tfds:NAME:SPLIT``; by default, the validation split.
        data_dir: folder of the TFDS data sets; by default, TFDS's own.
        resolution: height and width of the images; by default, that of the stored images.
        cache_dir: local folder for digests of the data.

    Raises:
        UserError: the data set or the split cannot be used, or the resolution is needed.
    """

    in_random_order = True

    def __init__(
        self, name: str, data_dir: str | None = None, resolution: int | None = None, cache_dir: str = DEFAULT_FOLDER
    ) -> None:
        dataset_name, _, split = name.removeprefix(PREFIX).partition(":")
        if split[:1].isdigit():  # tfds:NAME:1.0.0:SPLIT
            version, _, split = split.partition(":")
            dataset_name = f"{dataset_name}:{version}"
        self.dataset = ClassificationDataset(DataConfig(dataset=dataset_name, data_dir=data_dir))
        self.split = split or self.dataset.config.validation_split
        super().__init__(name, self.dataset.num_examples(self.split))
        self._cache_dir = cache_dir
        self.resolution = resolution or self._stored_resolution()

    def _stored_resolution(self) -> int:
        height, width = self.dataset.image_size
        if height is None or height != width:
            found = "images of different sizes" if None in (height, width) else f"images of {height}x{width}"
            raise UserError(
                f"{self.name} holds {found}; pass --resolution with the height and width to crop and resample them to, "
                "that of the images on the other side"
            )
        return height

    def card(self) -> dict[str, Any]:
        """Returns kind, count, digest of the stored images, resolution and preprocessing."""
        return {
            "kind": "data set",
            "images": self.count,
            "sha256": self._sha256(),
            "resolution": self.resolution,
            "preprocessing": PREPROCESSING,
        }

    def _sha256(self) -> str:
        return self.dataset.identity(self.split, None, self._cache_dir)["sha256"]

    def content(self, extractor: FeatureExtractor) -> dict[str, Any]:
        """Returns what the features depend on, as ``Evaluator`` does, so that both share them."""
        return {
            "real": self._sha256(),
            "resolution": self.resolution,
            "preprocessing": PREPROCESSING,
            "classifier": extractor.card(),
        }

    def provenance(self) -> dict[str, Any]:
        """Returns name, version and folder of the data set."""
        identity = self.dataset.identity(self.split, None, self._cache_dir)
        return {
            "source": self.name,
            "version": identity["version"],
            "split": self.split,
            **self.dataset.provenance(self.split),
        }

    def features(self, extractor: FeatureExtractor, first: int) -> Batches:
        """Yields features; see :meth:`ImageSource.features`."""
        images_and_labels = self.dataset.evaluation_batches(
            self.split, resolution=self.resolution, batch=extractor.batch, first=first
        )
        with self.dataset.reading(self.split):
            for images, labels in images_and_labels.as_numpy_iterator():
                yield extractor.of_batch(images), labels
