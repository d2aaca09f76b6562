"""The loss of the discriminator on one part of a batch: augmentation, hinge loss and penalties."""

import tensorflow as tf

from hamgan import random_streams
from hamgan.config import AugmentationConfig, RegularizationConfig
from hamgan.data.augmentation import diff_augment, flip_horizontally
from hamgan.networks import Discriminator
from hamgan.random_streams import Purpose
from hamgan.training.losses import hinge_discriminator_loss
from hamgan.training.order import computed_after
from hamgan.training.partial_batches import PartialBatches
from hamgan.training.penalties import consistency_penalty, lecam_penalty, r1_penalty

Labeled = tuple[tf.Tensor, tf.Tensor]
"""Images in [-1, 1], shape ``(batch, height, width, channels)``, and their labels, shape ``(batch,)``."""


class DiscriminatorLoss:
    """The loss of the discriminator, as the config defines it.

    Args:
        discriminator: network without side effects, for the R1 penalty.
        discriminate: the same network in training mode.
        augmentation: augmentation of the images that the discriminator sees.
        regularization: weights of the penalties.
    """

    def __init__(
        self,
        discriminator: Discriminator,
        discriminate: PartialBatches,
        augmentation: AugmentationConfig,
        regularization: RegularizationConfig,
    ) -> None:
        self.regularization = regularization
        self._discriminator = discriminator
        self._discriminate = discriminate
        self._flips = augmentation.flip
        self._probability = augmentation.probability
        self._kinds = {
            "color": augmentation.color,
            "translation": augmentation.translation,
            "cutout": augmentation.cutout,
        }

    @property
    def penalties(self) -> tuple[str, ...]:
        """Names of the penalties among the metrics."""
        weights = self.regularization
        named = {
            "r1_penalty": weights.r1,
            "lecam_penalty": weights.lecam,
            "consistency_penalty": weights.consistency_real + weights.consistency_fake,
        }
        return tuple(name for name, weight in named.items() if weight)

    def augmented(self, images: tf.Tensor, key: tf.Tensor, purpose: Purpose, *, first: tf.Tensor) -> tf.Tensor:
        """Returns images as the discriminator sees them, in the updates of both networks.

        Args:
            images: images in [-1, 1].
            key: key of the update's random stream.
            purpose: purpose of the random numbers, which selects a substream of the key.
            first: index of the first image in the global batch.
        """
        if not any(self._kinds.values()):
            return images
        return diff_augment(
            images, random_streams.fold(key, purpose), first=first, probability=self._probability, **self._kinds
        )

    def gradients(
        self,
        reals: Labeled,
        fakes: Labeled,
        key: tf.Tensor,
        *,
        first: tf.Tensor,
        count: int,
        number: tf.Tensor,
        averages: tf.Tensor | None,
        divisor: int,
    ) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """Computes the gradients of the scaled loss, and the metrics.

        Args:
            reals: real images and labels.
            fakes: generated images and labels.
            key: key of the update's random stream.
            first: index of the first example in the global batch.
            count: number of real images, and of fakes.
            number: number of previous discriminator updates, which determines whether the R1 penalty is due.
            averages: moving averages of the logits of real images and fakes, shape ``(2,)``, for LeCam.
            divisor: divisor of the loss.

        Returns:
            Gradients of the discriminator's trainable variables; and scalar metrics by name. The R1 penalty counts
            ``r1_interval`` times when it is due, and is 0 otherwise.
        """
        images, labels = reals
        if self._flips:
            images = flip_horizontally(images, random_streams.fold(key, Purpose.FLIPS), first=first)
        images = self.augmented(images, key, Purpose.AUGMENTATION_REAL, first=first)
        fake_images = self.augmented(fakes[0], key, Purpose.AUGMENTATION_FAKE, first=first)
        seen, seen_labels = [images, fake_images], [labels, fakes[1]]
        of_reals, of_fakes = (
            self._discriminator.draw_initial_bases(key, purpose, first=first, count=count, training=True)
            for purpose in (Purpose.DISCRIMINATOR_BASES_REAL, Purpose.DISCRIMINATOR_BASES_FAKE)
        )
        bases = [of_reals, of_fakes]
        weights = self.regularization
        penalties = {}
        if weights.r1:
            # Before the other passes update the singular vectors, as for every part of a batch.
            is_due = number % weights.r1_interval == 0
            # Without training: other modules than those above may have random bases.
            r1_bases = self._discriminator.draw_initial_bases(
                key, Purpose.DISCRIMINATOR_BASES_REAL, first=first, count=count
            )
            penalties["r1_penalty"], r1_gradients = self._r1_gradients(images, labels, r1_bases, is_due, divisor)
            seen[0] = computed_after(images, tf.linalg.global_norm(r1_gradients))
        if "consistency_penalty" in self.penalties:
            seen.append(self._perturbed(images, key, Purpose.CONSISTENCY_REAL, first))
            seen.append(self._perturbed(fake_images, key, Purpose.CONSISTENCY_FAKE, first))
            # The same labels and bases: only the images differ.
            seen_labels, bases = seen_labels * 2, bases * 2
        variables = [variable.value for variable in self._discriminator.trainable_variables]
        with tf.GradientTape() as tape:
            # One pass for all images, because the discriminator treats examples independently.
            logits = self._discriminate(
                tf.concat(seen, axis=0),
                tf.concat(seen_labels, axis=0),
                initial_bases=tuple(tf.concat(each, axis=0) for each in zip(*bases, strict=True)),
            )
            real_logits, fake_logits, *perturbed = tf.split(logits, len(seen))
            loss = hinge_discriminator_loss(real_logits, fake_logits)
            logit_penalties = {}
            if perturbed:
                logit_penalties["consistency_penalty"] = weights.consistency_real * consistency_penalty(
                    real_logits, perturbed[0]
                ) + weights.consistency_fake * consistency_penalty(fake_logits, perturbed[1])
            if averages is not None:
                logit_penalties["lecam_penalty"] = weights.lecam * lecam_penalty(real_logits, fake_logits, averages)
            # TF-GAN computes the hinge loss in float32.
            total = loss + tf.cast(sum(logit_penalties.values()), loss.dtype)
            scaled_loss = total / divisor
        gradients = tape.gradient(scaled_loss, variables)
        if weights.r1:
            gradients = [one + other for one, other in zip(gradients, r1_gradients, strict=True)]
        return gradients, {
            "discriminator_loss": loss,
            "real_logits": tf.reduce_mean(real_logits),
            "fake_logits": tf.reduce_mean(fake_logits),
            **logit_penalties,
            **penalties,
        }

    def _perturbed(self, images: tf.Tensor, key: tf.Tensor, purpose: Purpose, first: tf.Tensor) -> tf.Tensor:
        """Returns translated, and if real images are mirrored also mirrored, images for consistency regularisation."""
        key = random_streams.fold(key, purpose)
        if self._flips:
            images = flip_horizontally(images, random_streams.fold(key, Purpose.FLIPS), first=first)
        return diff_augment(images, key, first=first, translation=True)

    def _r1_gradients(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        bases: tuple[tf.Tensor, ...],
        is_due: tf.Tensor,
        divisor: int,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Returns the R1 penalty with its weight, and the gradients of the scaled penalty; zeros if it is not due."""
        weight = self.regularization.r1 * self.regularization.r1_interval
        variables = [variable.value for variable in self._discriminator.trainable_variables]

        def due() -> tuple[tf.Tensor, list[tf.Tensor]]:
            with tf.GradientTape() as tape:
                penalty = weight * r1_penalty(
                    lambda x: self._discriminator(x, labels, training=False, initial_bases=bases), images
                )
                scaled_penalty = penalty / divisor
            unconnected = tf.UnconnectedGradients.ZERO
            return penalty, tape.gradient(scaled_penalty, variables, unconnected_gradients=unconnected)

        def not_due() -> tuple[tf.Tensor, list[tf.Tensor]]:
            return tf.zeros((), images.dtype), [tf.zeros(variable.shape, variable.dtype) for variable in variables]

        return tf.cond(is_due, due, not_due)
