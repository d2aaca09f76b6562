"""Memorisation: the training images that are nearest to samples in feature space."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from hamgan.config import ExperimentConfig
from hamgan.errors import UserError
from hamgan.evaluation.evaluate import evaluation_config
from hamgan.evaluation.evaluator import Evaluator
from hamgan.evaluation.features import DEFAULT_FOLDER
from hamgan.evaluation.neighbors import nearest_neighbors
from hamgan.sampling.grids import to_uint8
from hamgan.sampling.sampler import Sampler
from hamgan.sampling.trained import Run, load

__all__ = ["NearestTrainingImages", "nearest_training_images"]

QUANTILE = 0.01
"""Share of validation images that count as close to a training image."""
NUM_SAMPLES = 1000
NEIGHBORS = 5
ROWS = 10


@dataclasses.dataclass(frozen=True, eq=False)
class NearestTrainingImages:
    """Result of :func:`nearest_training_images`, for n samples and k neighbours.

    Attributes:
        distances: distances in feature space from each sample to its nearest training images, ``(n, k)``.
        indices: indices of these training images in stored order, ``(n, k)``.
        labels: label of each sample, ``(n,)``.
        validation_distances: distance of each validation image to its nearest training image.
        nearest_rows: indices of the samples that are nearest to a training image, the nearest one first.
        images: samples by index, those of ``nearest_rows`` and the first ones, uint8.
        training_images: training images by index, the neighbours of ``images``, uint8.
        training_labels: label of each of ``training_images``, by index.
        num_training: number of training images that were searched.
        training_split_size: number of images in the training split.
        class_names: name of each class.
        title: name of the run, with the step.

    Example:
        >>> import hamgan
        >>> found = hamgan.nearest_training_images("runs/digits", classifier="classifier", data_dir="data", num=40)
        >>> 0 <= found.share_of_close_samples <= 1
        True
    """

    distances: np.ndarray
    indices: np.ndarray
    labels: np.ndarray
    validation_distances: np.ndarray
    nearest_rows: list[int]
    images: dict[int, np.ndarray]
    training_images: dict[int, np.ndarray]
    training_labels: dict[int, int]
    num_training: int
    training_split_size: int
    class_names: list[str]
    title: str

    @property
    def first_rows(self) -> list[int]:
        """Indices of the first samples whose images were kept."""
        return list(range(len(self.nearest_rows)))

    @property
    def threshold(self) -> float:
        """The 1 % quantile of the validation images' distances."""
        return float(np.quantile(self.validation_distances, QUANTILE))

    @property
    def share_of_close_samples(self) -> float:
        """Share of samples that are nearer to a training image than the 1 % quantile of validation images."""
        return float(np.mean(self.distances[:, 0] < self.threshold))

    @property
    def median_ratio(self) -> float:
        """Median distance of the samples, divided by that of the validation images."""
        return float(np.median(self.distances[:, 0]) / np.median(self.validation_distances))

    def summary(self) -> str:
        """Returns what the distances say, in plain sentences."""
        share = self.share_of_close_samples
        said = (
            f"{share:.1%} of {len(self.distances):,} samples are closer to a training image than the closest "
            f"{QUANTILE:.0%} of {len(self.validation_distances):,} validation images. Of new images like these, about "
            f"{QUANTILE:.0%} would be."
        )
        # Three standard deviations of a share from so many samples and validation images.
        smaller = min(len(self.distances), len(self.validation_distances))
        noise = 3 * np.sqrt(QUANTILE * (1 - QUANTILE) / smaller)
        if share > QUANTILE + noise:
            said += (
                " That is more than chance: samples are copies, or more typical than real images. The pictures show "
                "which."
            )
        else:
            said += " By this measure, the generator does not copy training images."
        said += f" The median distance of the samples is {self.median_ratio:.2f} times that of validation images."
        if self.num_training < self.training_split_size:
            said += (
                f" Only {self.num_training:,} of {self.training_split_size:,} training images were searched: copies of "
                "the others would not be noticed."
            )
        return said


def nearest_training_images(
    run: str | Run,
    *,
    num: int = NUM_SAMPLES,
    neighbors: int = NEIGHBORS,
    rows: int = ROWS,
    classes: Sequence[int | str] | None = None,
    num_real: int | None = None,
    seed: int = 0,
    truncation: float | None = None,
    classifier: str | None = None,
    data_dir: str | None = None,
    cache_dir: str | None = None,
) -> NearestTrainingImages:
    """Finds the training images that are nearest to samples, in the classifier's feature space.

    The distances of validation images to training images show how near new images of the same kind are. Features of
    real images are those of :func:`hamgan.evaluate`, from its cache.

    Args:
        run: folder of the run, or a loaded run.
        num: number of samples.
        neighbors: number of training images for each sample.
        rows: number of samples whose images are kept: the nearest ones, and as many of the first ones.
        classes: classes of the samples, in turn; by default, random ones.
        num_real: most training and validation images to search; by default, as many as evaluations of the run use.
        seed: seed of the samples.
        truncation: bound of the truncated normal distribution of latent vectors; None does not truncate.
        classifier: TF-Hub handle or SavedModel; by default, that of the run.
        data_dir: folder of the TFDS data sets; by default, that of the run.
        cache_dir: local folder of features; by default, ``~/.cache/hamgan/features``.

    Returns:
        Distances, indices and images of the samples and of their neighbours.

    Raises:
        UserError: the run, the data or the classifier is missing or unusable, or an argument is out of range.

    Reference: Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis (ICLR 2019), appendix on
    nearest neighbours.

    Example:
        >>> import hamgan
        >>> found = hamgan.nearest_training_images("runs/digits", classifier="classifier", data_dir="data", num=40)
        >>> found.distances.shape
        (40, 5)
    """
    if min(num, neighbors, rows) < 1:
        raise UserError(f"num, neighbors and rows must be positive, found {num}, {neighbors} and {rows}")
    if not 0 <= seed < 2**31:
        raise UserError(f"seed must be in [0, 2^31), found {seed}")
    if truncation is not None and not truncation > 0:
        raise UserError(f"truncation must be positive, found {truncation}")
    if not isinstance(run, Run):
        run = load(run)
    settings = ["evaluation.neighbors_samples=0", "evaluation.fid_infinity=false", "evaluation.wrap_validation=false"]
    config = evaluation_config(
        run.config, classifier=classifier, num_samples=num_real, data_dir=data_dir, overrides=settings
    )
    evaluator = Evaluator(config, None, cache_dir or DEFAULT_FOLDER)
    train_split = evaluator.config.data.train_split
    train, validation = (_features(evaluator, split) for split in (train_split, evaluator.config.data.validation_split))
    if neighbors > len(train):
        raise UserError(f"neighbors must be at most the number of training images, {len(train)}, found {neighbors}")
    chosen = None if classes is None else np.resize(np.asarray(run.labels(classes), np.int32), num)
    labels, fakes = _samples(run, evaluator, num, chosen, seed, truncation)
    distances, indices = nearest_neighbors(fakes, train, neighbors)
    validation_distances, _ = nearest_neighbors(validation, train, 1)
    nearest_rows = np.argsort(distances[:, 0], kind="stable")[:rows].tolist()
    shown = sorted({*nearest_rows, *range(min(rows, num))})
    training_images, training_labels = _training_images(evaluator, set(indices[shown].ravel().tolist()))
    return NearestTrainingImages(
        distances=distances,
        indices=indices,
        labels=labels,
        validation_distances=validation_distances[:, 0],
        nearest_rows=nearest_rows,
        images=_images(run, labels, shown, seed, truncation),
        training_images=training_images,
        training_labels=training_labels,
        num_training=len(train),
        training_split_size=evaluator.dataset.num_examples(train_split),
        class_names=run.class_names,
        title=f"{run.config.name}, step {run.step:,}",
    )


def _features(evaluator: Evaluator, split: str) -> np.ndarray:
    features = evaluator.real_features(split)
    if features is None:
        raise UserError("nearest training images are searched by one process; unset TF_CONFIG")
    return features.pool_3


def _samples(
    run: Run, evaluator: Evaluator, num: int, labels: np.ndarray | None, seed: int, truncation: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the labels and features of the first samples."""
    sampler = Sampler(
        run.generator,
        seed=seed,
        batch=min(num, evaluator.settings.batch),
        truncation=truncation,
        class_counts=run.class_counts,
        postprocess=lambda images: evaluator.classifier(images)["pool_3"],
    )
    labels = sampler.random_labels(num) if labels is None else labels
    features = []
    with tqdm(total=num, desc="Samples", unit="img", leave=False) as progress:
        for batch in sampler.batches(labels):
            features.append(np.asarray(batch))
            progress.update(len(batch))
    return labels, np.concatenate(features)


def _images(
    run: Run, labels: np.ndarray, shown: Sequence[int], seed: int, truncation: float | None
) -> dict[int, np.ndarray]:
    """Generates single samples again, which takes less memory than keeping all."""
    sampler = Sampler(run.generator, seed=seed, batch=1, truncation=truncation)
    return {
        index: to_uint8(np.asarray(next(sampler.batches(labels[index : index + 1], first=index)))[0]) for index in shown
    }


def _training_images(evaluator: Evaluator, wanted: set[int]) -> tuple[dict[int, np.ndarray], dict[int, int]]:
    """Reads images of the training split by index, in one pass."""
    config: ExperimentConfig = evaluator.config
    split = config.data.train_split
    batches = evaluator.dataset.evaluation_batches(
        split,
        resolution=config.model.resolution,
        channels=config.model.channels,
        batch=evaluator.settings.batch,
        last=max(wanted) + 1,
    )
    images: dict[int, np.ndarray] = {}
    labels: dict[int, int] = {}
    first = 0
    with evaluator.dataset.reading(split):
        for batch, batch_labels in batches.as_numpy_iterator():
            for index in wanted & set(range(first, first + len(batch))):
                images[index] = to_uint8(batch[index - first])
                labels[index] = int(batch_labels[index - first])
            first += len(batch)
    return images, labels
