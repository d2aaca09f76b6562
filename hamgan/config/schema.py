"""Typed config of an experiment, validated on construction."""

import dataclasses

from hamgan.config.fields import FromDataset, require, require_one_of, require_positive
from hamgan.config.model import ModelConfig
from hamgan.config.training import AugmentationConfig, RegularizationConfig, TrainConfig

BATCH_NORM_MODES = ("moving", "batch", "standing")
"""Values of ``evaluation.batch_norm``."""
EVALUATION_BASES = ("random", "fixed")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """A TFDS data set of images, with or without labels.

    Example:
        >>> from hamgan.config import DataConfig
        >>> DataConfig("flowers/128", "data").train_split
        'train'
    """

    dataset: str = "imagenet2012"
    """Name of the data set."""
    data_dir: str | None = None
    """Folder of the prepared data set; None means the default folder of TFDS."""
    train_split: FromDataset[str] = "train"
    """Split for training, any TFDS expression."""
    validation_split: FromDataset[str] = "validation"
    """Split for evaluation, any TFDS expression."""
    shuffle_buffer: int = 10_000
    """Number of images in the shuffle buffer."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        require_positive(self, "shuffle_buffer")


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """Evaluation of samples.

    Example:
        >>> from hamgan.config import EvaluationConfig
        >>> EvaluationConfig(num_samples=10_000).protocol
        'standard'
    """

    protocol: str = "standard"
    """Name of the protocol that these settings are based on; see :mod:`hamgan.config.protocols`."""
    classifier: str = "https://tfhub.dev/tensorflow/tfgan/eval/inception/1"
    """Classifier that computes features and logits."""
    num_samples: int = 50_000
    """Number of generated images per repeat, and maximum number of real images of each split."""
    wrap_validation: bool = False
    """Whether to repeat a smaller validation split until it has ``num_samples`` images."""
    repeats: int = 1
    """Number of evaluations, each with new samples, whose scores are averaged."""
    batch: int = 64
    """Number of images per batch."""
    seed: int = 0
    """Seed of the samples."""
    batch_norm: str = "moving"
    """Batch normalisation statistics of the generator: "moving" averages, "batch" or "standing" statistics."""
    bases: str = "random"
    """Initial bases of the generator's Hamburgers: "random" for each image, as in training, or "fixed", as in exported
    models."""
    standing_passes: int = 16
    """Number of batches that standing statistics are averaged over."""
    truncation: float | None = None
    """Bound t of the truncated normal distribution of latent vectors, which has values in [-t, t]."""
    neighbors_samples: int = 10_000
    """Number of real and of generated images for precision, recall, density and coverage; 0 skips these metrics."""
    bootstrap: int = 0
    """Number of bootstrap resamples for the standard errors of FID and IS; 0 skips them."""
    fid_infinity: bool = False
    """Whether to extrapolate FID to infinitely many samples."""
    intra_classes: str | None = None
    """Classes for which to compute FID separately, such as "0,3,7-9"."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        require_positive(self, "repeats", "batch", "standing_passes", "truncation")
        require(self.num_samples >= 2, f"num_samples must be at least 2, found {self.num_samples}")
        require(0 <= self.seed < 2**31, f"seed must be in [0, 2^31), found {self.seed}")
        require_one_of(self, "batch_norm", BATCH_NORM_MODES)
        require(self.bases in EVALUATION_BASES, f"bases must be {' or '.join(EVALUATION_BASES)}, found '{self.bases}'")
        for name in ("neighbors_samples", "bootstrap"):
            value = getattr(self, name)
            require(value >= 0, f"{name} must not be negative, found {value}")
        require(self.bootstrap != 1, "bootstrap must be 0 or at least 2, found 1")


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """The complete config of an experiment.

    Example:
        >>> from hamgan.config import ExperimentConfig, TrainConfig
        >>> ExperimentConfig("short", train=TrainConfig(steps=1000)).model.resolution
        128
    """

    name: str
    """Name of the experiment: that of its preset."""
    model: ModelConfig = ModelConfig()
    """The networks."""
    data: DataConfig = DataConfig()
    """The data set."""
    train: TrainConfig = TrainConfig()
    """Optimisation, logging and checkpoints."""
    augmentation: AugmentationConfig = AugmentationConfig()
    """Augmentation of the images that the discriminator sees."""
    regularization: RegularizationConfig = RegularizationConfig()
    """Penalties in the loss of the discriminator."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """How samples are scored."""

    def __post_init__(self) -> None:
        """Checks the settings of the networks against those of training."""
        for name, network in (("generator", self.model.generator), ("discriminator", self.model.discriminator)):
            for index, module in enumerate(network.context):
                require(
                    self.train.accumulation == 1 or not module.differs_in_training,
                    f"model.{name}.context.{index}, {module.module}, has bases or steps of its own in training and "
                    f"needs train.accumulation=1, found {self.train.accumulation}",
                )
