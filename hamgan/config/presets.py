"""Presets: functions that return the config of a named experiment."""

import dataclasses
from collections.abc import Callable

from hamgan.config import (
    FROM_DATASET,
    AugmentationConfig,
    DataConfig,
    DiscriminatorConfig,
    EvaluationConfig,
    ExperimentConfig,
    GeneratorConfig,
    HamburgerConfig,
    ModelConfig,
    RegularizationConfig,
    TrainConfig,
)
from hamgan.errors import UserError, did_you_mean

__all__ = ["PRESETS", "digits", "get_preset", "hamgan_baby", "hamgan_plus", "hamgan_strong", "small_data"]


def hamgan_strong() -> ExperimentConfig:
    """Returns the published HamGAN-strong: ImageNet 128x128, batch 1024, 1M steps (paper: FID 14.77, IS 58.75).

    Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021).

    Example:
        >>> from hamgan.config.presets import hamgan_strong
        >>> hamgan_strong().train.global_batch
        1024
    """
    return ExperimentConfig(
        name="hamgan_strong",
        model=ModelConfig(
            resolution=128,
            num_classes=1000,
            generator=GeneratorConfig(
                base_channels=64, context=(HamburgerConfig(resolution=32, latent_dim=256, rank=32),)
            ),
            discriminator=DiscriminatorConfig(
                base_channels=64, context=(HamburgerConfig(resolution=32, latent_dim=128, rank=16),)
            ),
        ),
        data=DataConfig(dataset="imagenet2012", shuffle_buffer=10_000),
        train=TrainConfig(global_batch=1024, steps=1_000_000, checkpoint_every=1000, max_to_keep=100),
    )


def hamgan_baby() -> ExperimentConfig:
    """Returns the published HamGAN-baby: HamGAN-strong with batch 256 and 2M steps (paper: FID 16.05).

    Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021).

    Example:
        >>> from hamgan.config.presets import hamgan_baby
        >>> hamgan_baby().train.global_batch
        256
    """
    strong = hamgan_strong()
    return dataclasses.replace(
        strong,
        name="hamgan_baby",
        train=dataclasses.replace(strong.train, global_batch=256, steps=2_000_000),
    )


def hamgan_plus() -> ExperimentConfig:
    """Returns HamGAN-strong with choices that the literature has agreed on since; not trained by us so far.

    - Moving average of the weights, decay 0.9999: Brock et al., Large Scale GAN Training (ICLR 2019).
    - Mirrored real images: Karras et al., Training GANs with Limited Data (NeurIPS 2020).
    - LeCam regularisation: Tseng et al., Regularizing GANs under Limited Data (CVPR 2021). Its weight is not tuned.
    - bfloat16 activations, which TPUs and recent GPUs compute faster.

    Example:
        >>> from hamgan.config.presets import hamgan_plus
        >>> hamgan_plus().train.precision
        'mixed_bfloat16'
    """
    strong = hamgan_strong()
    return dataclasses.replace(
        strong,
        name="hamgan_plus",
        train=dataclasses.replace(strong.train, ema_decay=0.9999, precision="mixed_bfloat16"),
        augmentation=AugmentationConfig(flip=True),
        regularization=RegularizationConfig(lecam=0.3),
    )


def digits() -> ExperimentConfig:
    """Returns the quickstart: handwritten digits at 32x32, which train in minutes on two CPU cores.

    Example:
        >>> from hamgan.config.presets import digits
        >>> digits().model.resolution
        32
    """
    return ExperimentConfig(
        name="digits",
        model=ModelConfig(
            resolution=32,
            num_classes=10,
            generator=GeneratorConfig(
                base_channels=16,
                z_dim=12,  # The digits have few ways to vary; more dimensions end at a higher FID.
                batch_norm_momentum=0.99,
                context=(HamburgerConfig(resolution=16, latent_dim=32, rank=8),),
            ),
            discriminator=DiscriminatorConfig(
                base_channels=16, context=(HamburgerConfig(resolution=16, latent_dim=16, rank=8),)
            ),
        ),
        data=DataConfig(dataset="digits", shuffle_buffer=2_000),
        train=TrainConfig(
            global_batch=32,
            steps=1200,
            generator_learning_rate=4e-4,
            discriminator_learning_rate=1.6e-3,
            adam_beta2=0.98,
            ema_decay=0.995,
            ema_warmup=8.0,
            steps_per_loop=50,
            checkpoint_every=600,
            max_to_keep=20,
            image_every=200,
        ),
        evaluation=EvaluationConfig(num_samples=2_000),
    )


def small_data() -> ExperimentConfig:
    """Returns a start for your own images: small networks, with classes, resolution and splits from the data set.

    Name the data set by ``--dataset``. Real images are mirrored: override ``augmentation.flip=false`` for images with
    an orientation, such as text.

    - Consistency regularisation (bCR): Zhao et al., Improved Consistency Regularization for GANs (AAAI 2021). With 100
      digits, it helped most of what we tried; see docs/own_images.md.
    - Moving average of the weights and mirrored images, as in :func:`hamgan_plus`.

    Example:
        >>> from hamgan.config.presets import small_data
        >>> small_data().train.global_batch
        32
    """
    return ExperimentConfig(
        name="small_data",
        model=ModelConfig(
            resolution=FROM_DATASET,
            num_classes=FROM_DATASET,
            generator=GeneratorConfig(
                base_channels=32,
                z_dim=64,
                context=(HamburgerConfig(resolution=FROM_DATASET, latent_dim=128, rank=16),),
            ),
            discriminator=DiscriminatorConfig(
                base_channels=32, context=(HamburgerConfig(resolution=FROM_DATASET, latent_dim=64, rank=8),)
            ),
        ),
        data=DataConfig(dataset="", train_split=FROM_DATASET, validation_split=FROM_DATASET, shuffle_buffer=10_000),
        train=TrainConfig(
            global_batch=32,
            steps=50_000,
            ema_decay=0.999,
            checkpoint_every=1000,
            max_to_keep=50,
        ),
        augmentation=AugmentationConfig(flip=True),
        regularization=RegularizationConfig(consistency_real=1.0, consistency_fake=1.0),
        evaluation=EvaluationConfig(num_samples=10_000),
    )


PRESETS: dict[str, Callable[[], ExperimentConfig]] = {
    preset.__name__: preset for preset in (hamgan_strong, hamgan_baby, hamgan_plus, digits, small_data)
}
"""The presets by name."""


def get_preset(name: str) -> ExperimentConfig:
    """Returns the config of a preset.

    Args:
        name: name of the preset: "hamgan_strong", "hamgan_baby", "hamgan_plus", "digits" or "small_data".

    Raises:
        UserError: if the preset is unknown.

    Example:
        >>> from hamgan.config.presets import get_preset
        >>> get_preset("digits").name
        'digits'
    """
    if name not in PRESETS:
        hint = did_you_mean(name, PRESETS) or f"; expected one of {', '.join(PRESETS)}"
        raise UserError(f"unknown preset '{name}'{hint}")
    return PRESETS[name]()
