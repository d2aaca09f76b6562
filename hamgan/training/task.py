"""What the training loop trains: the interface between the loop and a kind of experiment."""

import abc
from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import tensorflow as tf

from hamgan.config import AnyConfig
from hamgan.data.record_dataset import RecordDataset
from hamgan.runs.directory import RunDirectory
from hamgan.runs.initialization import Initialization

Metrics = dict[str, tf.Tensor]
ExtraValues = Callable[[Mapping[str, float]], dict[str, float]]
"""Function from the largest singular value of each layer to further values for the log."""


class TrainingState(Protocol):
    """The variables of a run."""

    step: tf.Variable
    """Number of steps taken, int64."""

    def variables(self) -> dict[str, tf.Variable]:
        """Returns all variables by their names in checkpoints."""


class TrainingStep(abc.ABC):
    """The step that each replica runs on its share of the batch, through ``strategy.run``."""

    state: TrainingState
    batches_per_step: int = 1
    """Number of batches that a step reads."""

    @property
    @abc.abstractmethod
    def metric_names(self) -> tuple[str, ...]:
        """Names of the metrics of a step."""

    @abc.abstractmethod
    def __call__(self, batches: tuple[Any, ...], step: tf.Tensor, stream: tf.Tensor) -> Metrics:
        """Takes one step.

        Args:
            batches: ``batches_per_step`` batches of this replica.
            step: number of previous steps.
            stream: random stream of the run, from :func:`hamgan.random_streams.run_stream`.

        Returns:
            Scalar float32 metrics of this replica by name.
        """

    def finite_share(self) -> tf.Tensor:
        """Returns 1.0 if all floating-point variables of the state are finite, else 0.0."""
        variables = [variable for variable in self.state.variables().values() if variable.dtype.is_floating]
        finite = tf.stack([tf.reduce_all(tf.math.is_finite(variable)) for variable in variables])
        return tf.cast(tf.reduce_all(finite), tf.float32)

    @property
    def layers_with_singular_values(self) -> list[str]:
        """The paths of the spectrally normalised layers, in the order of :meth:`singular_values`."""
        return []

    def singular_values(self) -> tf.Tensor:
        """Returns the estimated largest singular value of each spectrally normalised kernel, shape ``(layers,)``."""
        return tf.zeros((0,))


Dataset = TypeVar("Dataset", bound=RecordDataset)
State = TypeVar("State", bound=TrainingState)
Step = TypeVar("Step", bound=TrainingStep)


class Task(abc.ABC, Generic[Dataset, State, Step]):
    """A kind of experiment. The loop calls the methods in the order in which they stand here.

    Attributes:
        config: config of the experiment, without values that are left to the data set.
    """

    config: AnyConfig

    @property
    def settled_fields(self) -> tuple[str, ...]:
        """Fields of :data:`hamgan.training.start.MAY_CHANGE` that a resumed run must not change after all."""
        return ()

    @abc.abstractmethod
    def check_batch(self, strategy: tf.distribute.Strategy) -> None:
        """Raises UserError if the replicas cannot share the batch equally."""

    @abc.abstractmethod
    def find_source(self, path: str, strategy: tf.distribute.Strategy) -> Any:
        """Returns the weights to start from, for :meth:`initialize`. In a cluster, all workers call it.

        Args:
            path: value of ``train.init_from``.
            strategy: strategy of the training.

        Raises:
            UserError: if they cannot be read.
        """

    @abc.abstractmethod
    def open_dataset(self) -> Dataset:
        """Returns the data set; raises UserError if it does not fit the network."""

    @abc.abstractmethod
    def create_state(self) -> State:
        """Returns the initial state. Called in the strategy's scope."""

    @abc.abstractmethod
    def initialize(self, state: State, source: Any, dataset: Dataset) -> Initialization:
        """Assigns weights to a new state, in the strategy's scope.

        Args:
            state: new state.
            source: result of :meth:`find_source`.
            dataset: data set of the run.

        Returns:
            Record of the weights that were taken.

        Raises:
            UserError: if the weights do not fit.
        """

    @abc.abstractmethod
    def describe_data(self, run: RunDirectory, dataset: Dataset) -> None:
        """Writes what later programs need to know about the data set, in the chief."""

    @abc.abstractmethod
    def create_step(self, state: State, dataset: Dataset, strategy: tf.distribute.Strategy) -> Step:
        """Returns the step that the replicas run."""

    @abc.abstractmethod
    def create_extra_values(self, step: Step, dataset: Dataset, strategy: tf.distribute.Strategy) -> ExtraValues:
        """Returns a function that computes values for the log besides the metrics; all workers call it."""

    @abc.abstractmethod
    def training_batches(
        self, dataset: Dataset, *, seed: int, skip_examples: int, host: int, num_hosts: int, batches_per_host: int
    ) -> tf.data.Dataset:
        """Returns endless batches, one host's share of them.

        Args:
            dataset: data set of the run.
            seed: seed of the order, below 2^31.
            skip_examples: number of examples to skip.
            host: index of this host.
            num_hosts: number of hosts that share each batch.
            batches_per_host: number of equal batches to split the host's share into, one per local replica.
        """

    @abc.abstractmethod
    def create_pictures(
        self, run: RunDirectory, state: State, dataset: Dataset, strategy: tf.distribute.Strategy
    ) -> Callable[[], np.ndarray]:
        """Returns a function that draws the picture of the current step, uint8, in the chief."""

    @abc.abstractmethod
    def best_step(self, run: RunDirectory) -> int | None:
        """Returns the step of the best evaluated checkpoint, which is kept, or None."""

    @abc.abstractmethod
    def progress(self, values: Mapping[str, float]) -> dict[str, str]:
        """Returns the values to show beside the progress bar, by short name."""
