"""Record of the weights that a run started from."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from hamgan.errors import UserError

_SHOWN = 8
"""Maximum number of names that a line lists."""


@dataclasses.dataclass(frozen=True)
class NetworkInitialization:
    """What a network took from a checkpoint."""

    network: str
    """Name of the network."""
    source: str
    """Name of the network in the checkpoint."""
    taken: tuple[str, ...]
    """Names of the weights that were copied. Class weights may be copied in another order of classes."""
    adapted: tuple[str, ...]
    """Names of the class weights in which at least one class has the weights of another class."""
    fresh: tuple[str, ...]
    """Names of the weights that kept their random values."""
    parameters: int
    """Number of parameters of the network."""
    taken_parameters: int
    """Number of parameters that were copied."""

    @property
    def fresh_modules(self) -> list[str]:
        """Names of the modules that kept their random weights, such as "block1" or "hamburger"."""
        return list(dict.fromkeys(name.split("/")[1] for name in self.fresh))

    def cells(self) -> tuple[str, ...]:
        """Returns a row of a table with the columns :data:`COLUMNS`."""
        number = len(self.taken) + len(self.adapted)
        return (
            self.network,
            self.source,
            f"{number:,} of {number + len(self.fresh):,}",
            f"{len(self.adapted):,}",
            f"{self.taken_parameters:,} of {self.parameters:,}",
            shortened(self.fresh_modules) or "none",
        )


COLUMNS = ("network", "from", "weights taken", "with other classes", "parameters taken", "not taken")
"""Columns of :meth:`NetworkInitialization.cells`."""


@dataclasses.dataclass(frozen=True)
class Initialization:
    """The weights that a run started from."""

    checkpoint: str
    """Path of the checkpoint, without suffix, or of a published file."""
    step: int | None
    """Training step of the checkpoint; None for a published file."""
    checkpoint_sha256: str | None
    """SHA-256 of the checkpoint, see :func:`hamgan.runs.checkpoints.checkpoint_sha256`."""
    taken_classes: tuple[str, ...]
    """Names of the run's classes whose weights were copied."""
    substituted_classes: tuple[tuple[str, str], ...]
    """Names of the run's classes that the source does not have, each with that of the class whose weights it has."""
    networks: tuple[NetworkInitialization, ...]

    def to_values(self) -> dict[str, Any]:
        """Returns the record as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_values(cls, values: Any, path: str) -> "Initialization":
        """Returns the record of JSON values.

        Args:
            values: result of :meth:`to_values`.
            path: path of the file, for error messages.

        Raises:
            UserError: if the values are not such a record.
        """
        try:
            networks = tuple(NetworkInitialization(**_with_tuples(network)) for network in values["networks"])
            substituted = tuple((name, other) for name, other in values["substituted_classes"])
            return cls(**{**_with_tuples(values), "networks": networks, "substituted_classes": substituted})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} is damaged (expected a record of initial weights); delete it") from error

    def lines(self) -> list[str]:
        """Returns a description in several lines, for the log."""
        lines = [f"Initial weights from {self.describe_source()}:"]
        for network in self.networks:
            name, source, weights, adapted, parameters, fresh = network.cells()
            others = f" ({adapted} with other classes)" if network.adapted else ""
            lines.append(f"  {name} from {source}: {weights} weights{others}, {parameters} parameters")
            if network.fresh:
                lines[-1] += f"; not taken: {fresh}"
        classes = self.describe_classes()
        return [*lines, f"  {classes}"] if classes else lines

    def describe_source(self) -> str:
        """Returns the checkpoint and its step, or the published file."""
        return self.checkpoint if self.step is None else f"{self.checkpoint} (step {self.step:,})"

    def describe_classes(self) -> str:
        """Returns a sentence about the weights of the classes; an empty one if they are not taken by class."""
        total = len(self.taken_classes) + len(self.substituted_classes)
        if not total:
            return ""
        text = f"{len(self.taken_classes):,} of {total:,} classes have the weights of the source's class"
        if self.substituted_classes:
            pairs = [f"{name} (from {other})" for name, other in self.substituted_classes]
            text += f"; these start from other classes of the source: {shortened(pairs)}"
        return text


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def shortened(names: Sequence[str]) -> str:
    """Returns the names as a list in one line, of which only the first are given if there are many."""
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
