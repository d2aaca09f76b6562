"""Config of the training loop, whatever it trains."""

import dataclasses

from hamgan.config.fields import require, require_one_of, require_positive

TPU_PRECISIONS = ("float32", "mixed_bfloat16")
"""Values of ``train.precision`` that TPUs compute."""
PRECISIONS = (*TPU_PRECISIONS, "float64")
"""Values of ``train.precision``."""
ON_COLLAPSE = ("stop", "rollback")


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """Steps, logging, checkpoints and reactions; subclasses add the settings of their optimizers.

    Example:
        >>> from hamgan.config import LoopConfig, TrainConfig
        >>> issubclass(TrainConfig, LoopConfig)
        True
    """

    global_batch: int = 1024
    """Number of images per update, summed over replicas."""
    steps: int = 1_000_000
    """Number of training steps."""
    steps_per_loop: int = 100
    """Number of steps per call of the compiled train function; also the logging interval."""
    checkpoint_every: int = 1000
    """Number of steps between checkpoints."""
    max_to_keep: int = 100
    """Maximum number of checkpoints to keep."""
    image_every: int = 1000
    """Number of steps between pictures; 0 disables them."""
    init_from: str | None = None
    """Run folder, or checkpoint of a run, whose weights a new run starts from; None for random weights, "" if it
    must be named. A segmentation network may also start from a published file."""
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
        require_one_of(self, "precision", PRECISIONS)
        require_one_of(self, "on_collapse", ON_COLLAPSE)
        require_positive(self, "global_batch", "steps", "steps_per_loop", "checkpoint_every", "max_to_keep")
        for name in ("image_every", "max_rollbacks"):
            value = getattr(self, name)
            require(value >= 0, f"{name} must not be negative, found {value}")
        require(0 <= self.seed < 2**31, f"seed must be in [0, 2^31), found {self.seed}")
