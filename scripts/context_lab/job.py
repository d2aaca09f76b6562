"""What a process of a comparison does, as one JSON text."""

import dataclasses
import json
import os
from typing import Any


@dataclasses.dataclass(frozen=True)
class Job:
    """A run to train and measure.

    Args:
        arm: name of the arm.
        file_name: name of the run's files.
        seed: seed of the run.
        preset: name of the preset.
        overrides: overrides of the preset that all arms share, with the seed.
        arm_overrides: overrides of the arm.
        classifier: TF-Hub handle or SavedModel to score with; None takes the preset's.
        folder: folder of the comparison.
    """

    arm: str
    file_name: str
    seed: int
    preset: str
    overrides: tuple[str, ...]
    arm_overrides: tuple[str, ...]
    classifier: str | None
    folder: str

    @property
    def name(self) -> str:
        """Name of the run's files without extension."""
        return f"{self.file_name}_seed{self.seed}"

    @property
    def run(self) -> str:
        """Run folder."""
        return os.path.join(self.folder, "runs", self.name)

    @property
    def result(self) -> str:
        """File of the result."""
        return os.path.join(self.folder, "results", f"{self.name}.json")

    @property
    def samples(self) -> str:
        """Picture of samples."""
        return os.path.join(self.folder, "results", f"{self.name}.png")

    @property
    def log(self) -> str:
        """What the process wrote."""
        return os.path.join(self.folder, "logs", f"{self.name}.log")

    @property
    def cache_dir(self) -> str:
        """Folder of features, which the runs share."""
        return os.path.join(self.folder, "features")

    def identity(self) -> dict[str, Any]:
        """Returns what determines the result. Paths in the folder are relative to it, so that it can be moved."""
        return {
            "arm": self.arm,
            "seed": self.seed,
            "preset": self.preset,
            "overrides": [self._relative(text) for text in self.overrides],
            "arm_overrides": list(self.arm_overrides),
            "classifier": None if self.classifier is None else self._relative(self.classifier),
        }

    def _relative(self, text: str) -> str:
        return text.replace(f"{self.folder}{os.sep}", "")

    def to_json(self) -> str:
        """Returns the job as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """Returns the job of :meth:`to_json`."""
        values = json.loads(text)
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**{**values, **lists})
