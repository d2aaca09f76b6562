"""Batches of images and masks from any data set with the features of ``mask_features``."""

import functools
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds

from hamgan.config import CropConfig
from hamgan.data.record_dataset import RecordDataset, batched
from hamgan.errors import UserError
from hamgan.segmentation.data.augmentation import augment, draw_augmentation
from hamgan.segmentation.data.color_distortion import distort_colors
from hamgan.segmentation.data.masks import IGNORED
from hamgan.segmentation.data.varied_crop import with_varied_crop

__all__ = ["SegmentationDataset"]


class SegmentationDataset(RecordDataset):
    """A prepared TFDS data set with one RGB image and one mask of classes per example.

    Args:
        config: name of the data set, its folder and its splits. Splits that are ``FROM_DATASET`` are chosen by
            :func:`hamgan.data.splits.with_splits`.

    Attributes:
        config: config with both splits.
        num_classes: number of classes.
        class_names: name of each class.

    Raises:
        UserError: as :class:`hamgan.data.record_dataset.RecordDataset`; or there is not exactly one image feature and
            one mask feature.

    Example:
        >>> import hamgan
        >>> from hamgan.segmentation.data.dataset import SegmentationDataset
        >>> SegmentationDataset(hamgan.load("runs/scenes").config.data).num_classes
        11
    """

    def _open_features(self) -> None:
        self.image_key, self.mask_key = _feature_keys(self.builder.info.features, self.config.dataset)
        self.class_names = list(self.builder.info.features[self.mask_key].names)

    @property
    def image_size(self) -> tuple[int | None, int | None]:
        """Height and width of the stored images; None if they differ."""
        height, width, _ = self.builder.info.features[self.image_key].shape
        return height, width

    def training_batches(
        self,
        augmentation: CropConfig,
        *,
        batch: int,
        seed: int,
        skip_examples: int = 0,
        host: int = 0,
        num_hosts: int = 1,
        batches_per_host: int = 1,
    ) -> tf.data.Dataset:
        """Returns endless shuffled batches of augmented training images, or one host's share of them.

        For a given batch size, order and augmentation depend on the seed alone. They are the same for any number of
        hosts and in a resumed run.

        Args:
            augmentation: augmentation of the images.
            batch: images per batch, summed over all hosts.
            seed: seed of order and augmentation, below 2^31.
            skip_examples: number of examples to skip, a multiple of ``batch``.
            host: index of this host.
            num_hosts: number of hosts that share each batch.
            batches_per_host: number of equal batches to split the host's share into, one per local replica.

        Returns:
            Normalised float32 images, shape ``(n, crop, crop, 3)``, and uint8 masks, shape ``(n, crop, crop)``, with
            ``n = batch / num_hosts / batches_per_host``.

        Raises:
            UserError: the first examples have unexpected masks.
            ValueError: ``batch`` does not divide ``skip_examples``, or is not divisible by the number of parts.
        """
        split = self.config.train_split
        self._check_first_examples(split)
        records, share = self._training_records(
            batch=batch,
            seed=seed,
            skip_examples=skip_examples,
            host=host,
            num_hosts=num_hosts,
            batches_per_host=batches_per_host,
        )
        of_host = batch // num_hosts

        def prepare(number: tf.Tensor, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            image, mask = self._decode(record, split)
            place: dict[str, Any] = {
                "seed": seed,
                "step": skip_examples // batch + number // of_host,
                "index": host * of_host + number % of_host,
            }
            draws = draw_augmentation(
                tf.shape(image)[:2],
                augmentation.crop,
                ratios=augmentation.ratios,
                any_ratio=augmentation.any_ratio,
                short_side=augmentation.short_side,
                align_corners=augmentation.align_corners,
                **place,
            )
            if augmentation.max_class_share is not None:
                draws = with_varied_crop(
                    draws,
                    mask,
                    augmentation.crop,
                    max_class_share=augmentation.max_class_share,
                    align_corners=augmentation.align_corners,
                    **place,
                )
            if not augmentation.flip:
                draws = draws._replace(flip=tf.constant(False))
            return augment(
                image,
                mask,
                draws,
                augmentation.crop,
                align_corners=augmentation.align_corners,
                distort=functools.partial(distort_colors, **place) if augmentation.color else None,
            )

        return batched(records.enumerate(), prepare, share, drop_remainder=True)

    def evaluation_batches(
        self, split: str, *, batch: int = 1, first: int = 0, last: int | None = None
    ) -> tf.data.Dataset:
        """Returns the whole examples ``first`` to ``last - 1`` of a split, in stored order.

        Args:
            split: name of the split.
            batch: images per batch; more than one needs images of equal size. The last batch may be smaller.
            first: index of the first example.
            last: index after the last example; None for the end of the split.

        Returns:
            Uint8 images, shape ``(n, height, width, 3)``, and uint8 masks, shape ``(n, height, width)``.

        Raises:
            UserError: the split does not exist, or its first examples have unexpected masks.
        """
        self._check_first_examples(split)
        records = self._stored_records(split, first, last)
        return batched(records, lambda record: self._decode(record, split), batch, drop_remainder=False)

    def _check_examples(self, records: tf.data.Dataset, split: str) -> None:
        # Decoding checks the masks.
        for _ in records.map(lambda record: self._decode(record, split)):
            pass

    def _decode(self, record: tf.Tensor, split: str) -> tuple[tf.Tensor, tf.Tensor]:
        """Decodes one example; an unexpected mask raises an error when it is evaluated."""
        example = self.builder.info.features.deserialize_example(record)
        image, mask = example[self.image_key], example[self.mask_key][..., 0]
        is_class = tf.logical_or(mask < self.num_classes, tf.equal(mask, IGNORED))
        highest = tf.reduce_max(tf.where(is_class, tf.zeros_like(mask), mask))
        # The form that hamgan.data.examples.label_error_in finds.
        unknown = tf.strings.join(
            [
                f"data set {self.config.dataset}, split {split}: found label ",
                tf.strings.as_string(tf.cast(highest, tf.int32)),
                f" in a mask; expected 0 to {self.num_classes - 1}, or {IGNORED} for pixels to ignore; prepare the "
                "data set again",
            ]
        )
        same_size = tf.reduce_all(tf.equal(tf.shape(image)[:2], tf.shape(mask)))
        checks = [
            tf.debugging.Assert(same_size, ["an image and its mask differ in size"]),
            tf.debugging.Assert(tf.reduce_all(is_class), [unknown]),
        ]
        with tf.control_dependencies(checks):
            return tf.identity(image), tf.identity(mask)


def _feature_keys(features: Any, name: str) -> tuple[str, str]:
    """Returns the names of the image feature and of the mask feature."""
    known = features if isinstance(features, tfds.features.FeaturesDict) else {}
    masks = [key for key, feature in known.items() if isinstance(feature, tfds.features.LabeledImage)]
    images = [key for key, feature in known.items() if isinstance(feature, tfds.features.Image) and key not in masks]
    if len(images) != 1 or len(masks) != 1 or known[images[0]].shape[-1] != 3 or not known[masks[0]].names:
        kinds = ", ".join(f"{key} ({type(feature).__name__})" for key, feature in sorted(known.items()))
        raise UserError(
            f"data set '{name}' must have exactly one RGB Image and one LabeledImage with class names, as 'hamnet "
            f"prepare' writes them, found {kinds or type(features).__name__}"
        )
    return images[0], masks[0]
