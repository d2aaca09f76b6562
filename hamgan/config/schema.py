"""Typed config of an experiment, validated on construction."""

import dataclasses
from typing import Annotated, Any, TypeVar

from hamgan.architecture import (
    CHANNELS,
    CONVOLUTION_FORMS,
    HAM_NAMES,
    HAMBURGER_VERSIONS,
    RESOLUTIONS,
    check_context_resolution,
    discriminator_stages,
    generator_stages,
)
from hamgan.errors import UserError

TPU_PRECISIONS = ("float32", "mixed_bfloat16")
PRECISIONS = (*TPU_PRECISIONS, "float64")
BATCH_NORM_MODES = ("moving", "batch", "standing")
ON_COLLAPSE = ("stop", "rollback")
LABEL_DISTRIBUTIONS = ("uniform", "dataset")


_Value = TypeVar("_Value")
FROM_DATASET: Any = None
"""Value of a field in a preset that takes its value from the data set; JSON null, ``none`` in an override."""
_MAY_BE_FROM_DATASET = "may be FROM_DATASET"
FromDataset = Annotated[_Value, _MAY_BE_FROM_DATASET]
"""Type of a field that may be :data:`FROM_DATASET`.

:func:`hamgan.data.fitted_config.fitted_config` sets such fields. The type does not include None, because only presets
contain it, and everything that uses a config takes a fitted one.
"""


def may_be_from_dataset(kind: Any) -> bool:
    """Whether the type of a field is :data:`FromDataset`."""
    return _MAY_BE_FROM_DATASET in getattr(kind, "__metadata__", ())


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)


def _require_positive(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        _require(value > 0, f"{name} must be positive, found {value}")


@dataclasses.dataclass(frozen=True)
class ContextConfig:
    """A context module of a network; subclasses add the settings of their module."""

    module: str = ""
    resolution: FromDataset[int] = 32
    """Height and width of the feature maps that the module processes, the output of a block."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        name = next((name for name, kind in CONTEXT_CONFIGS.items() if type(self) is kind), None)
        _require(self.module == name, f"module must be '{name}' in a {type(self).__name__}, found '{self.module}'")


@dataclasses.dataclass(frozen=True)
class HamburgerConfig(ContextConfig):
    """A Hamburger; the fields are arguments of :class:`hamgan.layers.Hamburger`."""

    module: str = "hamburger"
    ham: str = "nmf"
    version: str = "v1"
    latent_dim: int = 256
    rank: int = 32
    num_steps: int = 6
    num_sections: int = 1

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        _require(self.ham in HAM_NAMES, f"ham must be one of {', '.join(HAM_NAMES)}, found '{self.ham}'")
        _require(
            self.version in HAMBURGER_VERSIONS,
            f"version must be one of {', '.join(HAMBURGER_VERSIONS)}, found '{self.version}'",
        )
        _require_positive(self, "latent_dim", "rank", "num_steps", "num_sections")


@dataclasses.dataclass(frozen=True)
class SelfAttentionConfig(ContextConfig):
    """Self-attention; see :class:`hamgan.layers.SelfAttention`."""

    module: str = "self_attention"


CONTEXT_CONFIGS: dict[str, type[ContextConfig]] = {"hamburger": HamburgerConfig, "self_attention": SelfAttentionConfig}
"""The config class of each context module by name."""


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
    """The generator."""

    base_channels: int = 64
    """Number of channels at full resolution."""
    z_dim: int = 128
    """Number of latent dimensions."""
    batch_norm_momentum: float = 0.999
    """Decay of the moving averages of batch normalisation."""
    context: tuple[ContextConfig, ...] = (HamburgerConfig(),)
    """Context modules."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        _require_positive(self, "base_channels", "z_dim")
        _require(
            0 <= self.batch_norm_momentum < 1,
            f"batch_norm_momentum must be in [0, 1), found {self.batch_norm_momentum}",
        )


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
    """The discriminator."""

    base_channels: int = 64
    """Number of channels after the first block."""
    context: tuple[ContextConfig, ...] = (HamburgerConfig(latent_dim=128, rank=16),)
    """Context modules."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        _require_positive(self, "base_channels")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Both networks."""

    resolution: FromDataset[int] = 128
    """Height and width of the images."""
    num_classes: FromDataset[int] = 1000
    channels: int = 3
    """Number of channels of the images: 3 for RGB, 1 for gray."""
    generator: GeneratorConfig = GeneratorConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    convolution_form: str = "auto"
    """Algorithm for convolutions with resampling; results agree up to rounding."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        if self.num_classes is not FROM_DATASET:
            _require_positive(self, "num_classes")
        _require(
            self.resolution is FROM_DATASET or self.resolution in RESOLUTIONS,
            f"model.resolution must be one of {', '.join(map(str, RESOLUTIONS))}, found {self.resolution}",
        )
        _require(self.channels in CHANNELS, f"model.channels must be 1 (gray) or 3 (RGB), found {self.channels}")
        _require(
            self.convolution_form in CONVOLUTION_FORMS,
            f"model.convolution_form must be one of {', '.join(CONVOLUTION_FORMS)}, found '{self.convolution_form}'",
        )
        if self.resolution is not FROM_DATASET:
            self._check_context()

    def _check_context(self) -> None:
        """Raises UserError if a network has no feature maps of the resolution of a context module."""
        for name, network, stages in (
            ("generator", self.generator, generator_stages(self.resolution)[1:]),
            ("discriminator", self.discriminator, discriminator_stages(self.resolution)),
        ):
            for index, module in enumerate(network.context):
                if module.resolution is FROM_DATASET:
                    continue
                try:
                    check_context_resolution(module.resolution, [size for size, _ in stages])
                except ValueError as error:
                    raise UserError(
                        f"model.{name}.{error} at model.resolution {self.resolution}; override "
                        f"model.{name}.context.{index}.resolution, or set model.{name}.context=none"
                    ) from error


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """A TFDS data set of images, with or without labels."""

    dataset: str = "imagenet2012"
    """Name of the data set."""
    data_dir: str | None = None
    """Folder of the prepared data set; None means the default folder of TFDS."""
    train_split: FromDataset[str] = "train"
    validation_split: FromDataset[str] = "validation"
    shuffle_buffer: int = 10_000
    """Number of images in the shuffle buffer."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        _require_positive(self, "shuffle_buffer")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Optimisation, logging and checkpoints."""

    global_batch: int = 1024
    """Number of images per update, summed over replicas."""
    accumulation: int = 1
    """Number of parts into which each replica divides its share of the batch, to save memory. Batch normalisation uses
    the statistics of a part."""
    steps: int = 1_000_000
    discriminator_updates: int = 1
    """Number of discriminator updates per step, each with a new batch of real images."""
    generator_updates: int = 1
    """Number of generator updates per step."""
    label_distribution: str = "uniform"
    """Distribution of the random labels of generated images, in training and evaluation: "uniform", or "dataset", in
    proportion to the images of each class in the training split."""
    generator_learning_rate: float = 1e-4
    discriminator_learning_rate: float = 4e-4
    adam_beta1: float = 0.0
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    ema_decay: float = 0.0
    """Decay of the exponential moving average of the generator's weights; 0 disables the average."""
    ema_warmup: float = 10.0
    """Warm-up w of the average, to forget the initial weights: the decay at step t is at most (1 + t) / (w + t)."""
    steps_per_loop: int = 100
    """Number of steps per call of the compiled train function; also the logging interval."""
    checkpoint_every: int = 1000
    """Number of steps between checkpoints."""
    max_to_keep: int = 100
    """Maximum number of checkpoints to keep."""
    image_every: int = 1000
    """Number of steps between grids of samples; 0 disables them."""
    init_from: str | None = None
    """Run folder, or checkpoint of a run, whose weights a new run starts from; None for random weights."""
    seed: int = 0
    """Seed of the initial weights, the order of the data and all random inputs."""
    deterministic: bool = True
    """Whether TensorFlow uses only deterministic operations."""
    precision: str = "float32"
    """Dtype policy: "float32", "mixed_bfloat16" (activations and convolutions in bfloat16, weights and statistics in
    float32) or "float64" (slow; distinguishes rounding errors from bugs)."""
    on_collapse: str = "stop"
    """Reaction to a non-finite loss or weight: "stop", or "rollback" to the last checkpoint."""
    max_rollbacks: int = 3
    """Maximum number of rollbacks of a run before it stops."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        for name, choices in (
            ("precision", PRECISIONS),
            ("on_collapse", ON_COLLAPSE),
            ("label_distribution", LABEL_DISTRIBUTIONS),
        ):
            value = getattr(self, name)
            _require(value in choices, f"{name} must be one of {', '.join(choices)}, found '{value}'")
        _require_positive(
            self,
            *("global_batch", "accumulation", "steps", "discriminator_updates", "generator_updates", "steps_per_loop"),
            *("generator_learning_rate", "discriminator_learning_rate", "adam_epsilon"),
            *("checkpoint_every", "max_to_keep"),
        )
        for name in ("adam_beta1", "adam_beta2", "ema_decay"):
            value = getattr(self, name)
            _require(0 <= value < 1, f"{name} must be in [0, 1), found {value}")
        for name in ("image_every", "max_rollbacks"):
            value = getattr(self, name)
            _require(value >= 0, f"{name} must not be negative, found {value}")
        _require(self.ema_warmup >= 1, f"ema_warmup must be at least 1, found {self.ema_warmup}")
        _require(self.init_from != "", "init_from must be a run folder or a checkpoint, found ''")
        _require(0 <= self.seed < 2**31, f"seed must be in [0, 2^31), found {self.seed}")


@dataclasses.dataclass(frozen=True)
class AugmentationConfig:
    """Random augmentation of the images that the discriminator sees; see :mod:`hamgan.data.augmentation`."""

    flip: bool = False
    """Whether to mirror half of the real images. Generated images then have both orientations too."""
    color: bool = False
    """Whether to change brightness, saturation and contrast of real images and fakes (DiffAugment)."""
    translation: bool = False
    """Whether to translate real images and fakes by up to 1/8 of their size (DiffAugment)."""
    cutout: bool = False
    """Whether to cut a square of half the size out of real images and fakes (DiffAugment)."""
    probability: float = 1.0
    """Probability with which DiffAugment changes an image."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        _require(0 < self.probability <= 1, f"probability must be in (0, 1], found {self.probability}")


@dataclasses.dataclass(frozen=True)
class RegularizationConfig:
    """Penalties in the loss of the discriminator; see :mod:`hamgan.training.penalties`. A weight of 0 disables one."""

    r1: float = 0.0
    """Weight gamma of the R1 gradient penalty on real images."""
    r1_interval: int = 16
    """Number of discriminator updates between penalties. Each then counts this many times."""
    lecam: float = 0.0
    """Weight of LeCam regularisation."""
    lecam_decay: float = 0.99
    """Decay of the moving averages of the logits in LeCam regularisation."""
    consistency_real: float = 0.0
    """Weight of balanced consistency regularisation (bCR) on real images: the logits of translated images are equal,
    and with ``augmentation.flip`` those of mirrored ones."""
    consistency_fake: float = 0.0
    """Weight of balanced consistency regularisation (bCR) on fakes."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        for name in ("r1", "lecam", "consistency_real", "consistency_fake"):
            value = getattr(self, name)
            _require(value >= 0, f"{name} must not be negative, found {value}")
        _require_positive(self, "r1_interval")
        _require(0 <= self.lecam_decay < 1, f"lecam_decay must be in [0, 1), found {self.lecam_decay}")


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """Evaluation of samples."""

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
        _require_positive(self, "repeats", "batch", "standing_passes")
        _require(self.num_samples >= 2, f"num_samples must be at least 2, found {self.num_samples}")
        _require(0 <= self.seed < 2**31, f"seed must be in [0, 2^31), found {self.seed}")
        _require(
            self.batch_norm in BATCH_NORM_MODES,
            f"batch_norm must be one of {', '.join(BATCH_NORM_MODES)}, found '{self.batch_norm}'",
        )
        _require(
            self.truncation is None or self.truncation > 0, f"truncation must be positive, found {self.truncation}"
        )
        for name in ("neighbors_samples", "bootstrap"):
            value = getattr(self, name)
            _require(value >= 0, f"{name} must not be negative, found {value}")
        _require(self.bootstrap != 1, "bootstrap must be 0 or at least 2, found 1")


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """The complete config of an experiment."""

    name: str
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    regularization: RegularizationConfig = RegularizationConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
