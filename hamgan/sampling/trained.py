"""A run with trained networks."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hamgan.config import ExperimentConfig
from hamgan.config.class_lists import IMAGENET, class_list_name
from hamgan.errors import UserError
from hamgan.networks import Discriminator, Generator
from hamgan.networks.build import build_discriminator
from hamgan.runs.checkpoints import (
    network_variables,
    restore,
)
from hamgan.runs.directory import RunDirectory
from hamgan.runs.pretrained import find_run
from hamgan.sampling.class_choice import labels_of
from hamgan.sampling.imagenet_names import imagenet_synsets
from hamgan.sampling.latents import Latents
from hamgan.sampling.sample_output import SavedSamples, checked_latents, save_samples
from hamgan.sampling.sample_settings import SampleSettings
from hamgan.sampling.sample_stream import SampleStream
from hamgan.sampling.trained_weights import choose_weights, find_checkpoint, load_generator, weights_precision

if TYPE_CHECKING:
    from hamgan.sampling.directions import Directions
    from hamgan.sampling.export.report import ExportedFile
    from hamgan.sampling.inversion import Inversion


class Run:
    """A run with trained networks, from :func:`load`.

    Args:
        path: folder of the run, local or ``gs://``, or "digits": a generator that comes with the package.
        checkpoint: "latest", "best" (the lowest FID among those evaluated), a step, or the path of a checkpoint.
        weights: the generator's weights, "ema" (the moving average) or "raw"; by default, "ema" if the run has it.

    Attributes:
        path: path of the run's folder.
        config: config of the run, an :class:`hamgan.config.ExperimentConfig`.
        step: training step of the checkpoint.
        checkpoint: path of the checkpoint, without suffix.
        weights: the generator's weights: "ema" (the moving average) or "raw".
        class_names: name of each class: for ImageNet, its WordNet id; the labels as text if the run has no names.

    Example:
        >>> import hamgan
        >>> run = hamgan.Run("runs/digits")
        >>> inputs = run.generator.draw_inputs(seed=0, count=2)
        >>> run.discriminator(run.generator(*inputs), inputs.labels).shape
        TensorShape([2, 1])
    """

    def __init__(self, path: str, *, checkpoint: str = "latest", weights: str | None = None) -> None:
        directory = RunDirectory(find_run(path))
        self.path = directory.path
        self.config = directory.read_config()
        self.step, self.checkpoint = find_checkpoint(directory, checkpoint)
        self.weights = choose_weights(self.config, weights)
        self.class_names = _class_names(directory, self.config)

    def __repr__(self) -> str:
        return f"Run({self.path!r}, step={self.step}, weights={self.weights!r})"

    @functools.cached_property
    def generator(self) -> Generator:
        """The generator, a Keras model that maps z and labels to images in [-1, 1]."""
        return load_generator(self.config, self.checkpoint, self.weights)

    @functools.cached_property
    def discriminator(self) -> Discriminator:
        """The discriminator, a Keras model that maps images in [-1, 1] and labels to logits."""
        network = build_discriminator(self.config.model, precision=weights_precision(self.config))
        restore(self.checkpoint, network_variables(network), part=network.name)
        return network

    @functools.cached_property
    def class_counts(self) -> list[int] | None:
        """Number of training images of each class; None if the run draws labels uniformly.

        ``generator.draw_inputs(..., class_counts=run.class_counts)`` draws labels as in training.
        """
        return RunDirectory(self.path).read_class_counts(self.config)

    def labels(self, classes: Sequence[int | str]) -> list[int]:
        """Returns the labels of classes.

        Args:
            classes: names of classes, WordNet ids, or labels, as integers or as text such as "7", "#7" and "0-9"; see
                :func:`hamgan.sampling.class_choice.labels_of`.

        Raises:
            UserError: if a class does not exist, or if text has several meanings.
        """
        return labels_of(classes, self.class_names, where=self.path)

    def sample(
        self,
        classes: Sequence[int | str] | None = None,
        *,
        per_class: int = 1,
        seed: int = 0,
        truncation: float | None = None,
        batch_norm: str = "moving",
        latents: Latents | str | None = None,
        batch: int = 50,
    ) -> np.ndarray:
        """Generates images, deterministically for given arguments.

        Args:
            classes: names or labels of the classes, see :meth:`labels`; by default, all.
            per_class: number of images of each class.
            seed: seed of the latent vectors, in [0, 2^31).
            truncation: bound t of latent vectors from the normal distribution truncated to [-t, t]. Smaller bounds
                give more typical and less varied images.
            batch_norm: batch normalisation statistics: "moving" averages, those of each "batch", or "standing"
                statistics, averaged over several batches of samples.
            latents: latent vectors and class weights to use, or the path of their file; instead of classes.
            batch: number of images per batch.

        Returns:
            Images, uint8, shape ``(len(classes) * per_class, resolution, resolution, channels)``, grouped by
            class; one image for each of ``latents``.

        Raises:
            UserError: if a class does not exist or an argument is out of range.
        """
        settings = SampleSettings(seed, truncation, batch_norm, batch)
        if per_class < 1 or (latents is not None and per_class != 1):
            expected = "positive" if latents is None else "1 with latents"
            raise UserError(f"per_class must be {expected}, found {per_class}")
        chosen = None if classes is None else self.labels(classes)
        given = checked_latents(self, latents, chosen, settings)
        labels = np.repeat(np.arange(self.config.model.num_classes) if chosen is None else chosen, per_class)
        stream = SampleStream(self, settings, labels=labels if given is None else None, latents=given)
        return np.concatenate([images for _, images in stream.batches()])

    def save_samples(
        self,
        out: str,
        classes: Sequence[int | str] | None = None,
        *,
        num: int | None = None,
        per_class: int | None = None,
        seed: int = 0,
        truncation: float | None = None,
        batch_norm: str = "moving",
        latents: Latents | str | None = None,
        batch: int = 50,
    ) -> SavedSamples:
        """Writes samples: a labelled picture, a folder with a file for each, or arrays.

        Args:
            out: path whose ending says what is written. ``.png``, ``.jpg`` and ``.webp``: a picture with a row for each
                class. ``/`` or no ending: a folder with ``CLASS/000123.png`` and the settings, ``samples.json``. The
                same call resumes it to the same bytes. ``.npz``: images as ``arr_0``, uint8, and labels as ``arr_1``.
            classes: names or labels of the classes, see :meth:`labels`. In folders and arrays, they take turns. By
                default, ten classes in a picture, and random labels in folders and arrays, in the distribution of the
                run's training, as in evaluation.
            num: number of samples in a folder or in arrays; 1,000 by default, or all of ``latents``.
            per_class: number of samples in each row of a picture; 10 by default.
            seed: seed of the latent vectors and of random labels, in [0, 2^31).
            truncation: as in :meth:`sample`.
            batch_norm: as in :meth:`sample`.
            latents: as in :meth:`sample`.
            batch: number of images per batch. Memory is for one batch, except for pictures.

        Returns:
            The path, the number of samples there, and the number of those that were missing.

        Raises:
            UserError: if a class does not exist, an argument is out of range or does not fit the output, or the output
                cannot be written.

        Example:
            >>> import hamgan
            >>> hamgan.load("runs/digits").save_samples("samples/", num=100).drawn
            100
        """
        settings = SampleSettings(seed, truncation, batch_norm, batch)
        labels = None if classes is None else self.labels(classes)
        return save_samples(self, out, labels, settings, num=num, per_class=per_class, latents=latents)

    def interpolate(
        self,
        classes: Sequence[int | str] | None = None,
        *,
        seeds: Sequence[int] = (0,),
        latents: "Latents | None" = None,
        frames: int = 24,
        loop: bool = False,
        truncation: float | None = None,
        rows: int = 1,
        batch: int = 50,
    ) -> np.ndarray:
        """Generates the frames of an interpolation between seeds, between classes, or both at once.

        The path visits key points. Between them, latent vectors turn spherically, with linear norms, see
        :func:`hamgan.sampling.interpolation.slerp`, and weights of classes change linearly. All frames have the same
        initial bases.

        Args:
            classes: class of each key point, see :meth:`labels`; a single one stays constant. By default, the class
                weights of the latents.
            seeds: seed of each key point, in [0, 2^31), whose latent vector is that of :meth:`sample`; a single one
                stays constant. The first also determines the initial bases, and is all that is used with latents.
            latents: latent vectors and class weights of the key points, instead of seeds.
            frames: number of frames from one key point to the next, without the latter.
            loop: whether the path returns to the first key point, so that the first frame may follow the last.
            truncation: bound t of the latent vectors of seeds, from the normal distribution truncated to [-t, t].
                Between key points, norms stay between those of the key points; single values may exceed t.
            rows: number of interpolations, stacked in each frame: of the first, second, ... sample of each seed.
            batch: number of images per batch.

        Returns:
            Frames, uint8, shape ``(n, rows * resolution, resolution, channels)``: ``(k - 1) * frames + 1`` of k key
            points, or ``k * frames`` of a loop.

        Raises:
            UserError: if a class does not exist, an argument is out of range, or there are fewer than two key points.

        Reference: White, Sampling Generative Networks (2016), section 2.1, for spherical interpolation; Brock et al.,
        Large Scale GAN Training for High Fidelity Natural Image Synthesis (ICLR 2019), figure 8, for classes.

        Example:
            >>> import hamgan
            >>> run = hamgan.load("digits")
            >>> run.interpolate(["3", "8"], seeds=[7], frames=30).shape
            (31, 32, 32, 3)
        """
        from hamgan.sampling.interpolation import interpolate

        return interpolate(
            self,
            classes,
            seeds=seeds,
            latents=latents,
            frames=frames,
            loop=loop,
            truncation=truncation,
            rows=rows,
            batch=batch,
        )

    def invert(self, image: str | np.ndarray, **options: Any) -> "Inversion":
        """Finds the latent vector and the class whose generated image is most similar to a given image.

        Args:
            image: path of a picture, or image, uint8 or float in [-1, 1], shape
                ``(resolution, resolution, channels)``.
            options: ``classes``, ``classifier``, ``starts``, ``steps`` and more, see
                :func:`hamgan.sampling.inversion.invert`.

        Returns:
            The latent vector (``latents``), the class (``label``), the reconstruction (uint8), ``psnr`` in dB and more.

        Raises:
            UserError: if the picture cannot be read, a class does not exist or an argument is out of range.
        """
        from hamgan.sampling.inversion import invert

        return invert(self, image, **options)

    def directions(self, method: str = "sefa", **options: Any) -> "Directions":
        """Finds directions of the latent space along which images change most.

        Args:
            method: "sefa" or "ganspace".
            options: ``num``, ``classes`` and ``seed``, see :func:`hamgan.sampling.directions.find_directions`.

        Returns:
            Unit vectors, ``(k, z_dim)``, the importance of each, ``(k,)``, and the method.

        Raises:
            UserError: if the method or a class does not exist, or an argument is out of range.
        """
        from hamgan.sampling.directions import find_directions

        return find_directions(self, method=method, **options)

    def export(
        self,
        out: str,
        *,
        formats: Sequence[str] = ("savedmodel", "keras", "tflite", "onnx"),
        bases: str = "fixed",
        license_id: str = "unknown",
    ) -> "list[ExportedFile]":
        """Exports the generator to files that run elsewhere, with a picture and a model card.

        Each file is loaded again and compared with the Keras model. The folder appears only when all of them agree.

        Args:
            out: new or empty local folder.
            formats: formats of the files: "savedmodel", "keras", "tflite" and "onnx". ONNX needs ``hamgan[onnx]``.
            bases: initial bases of functions of z and labels: "fixed", or "random" in each call, which TFLite and ONNX
                do not support. The SavedModel's ``sample`` draws bases from its seed, as :meth:`sample` does.
            license_id: license of the weights for the model card, an identifier of the Hugging Face Hub.

        Returns:
            For each file, its format, name, size in bytes, largest difference from the images of the Keras model, and
            CPU time per image.

        Raises:
            UserError: if an argument is invalid, the folder contains files, or a package is missing.
            FailedError: if images of a file differ from those of the Keras model by more than 1e-4.

        Reference: Mitchell et al., Model Cards for Model Reporting (FAT* 2019).

        Example:
            >>> import hamgan
            >>> run = hamgan.load("runs/digits")
            >>> [file.file for file in run.export("exported", formats=["keras"])]
            ['generator.keras']
        """
        from hamgan.sampling.export import export

        return export(self, out, formats=formats, bases=bases, license_id=license_id)


def load(path: str, *, checkpoint: str = "latest", weights: str | None = None) -> Run:
    """Loads the trained networks of a run.

    Args:
        path: folder of the run, local or ``gs://``, or "digits": a generator that comes with the package.
        checkpoint: "latest", "best" (the lowest FID among those evaluated), a step, or the path of a checkpoint.
        weights: the generator's weights, "ema" (the moving average) or "raw"; by default, "ema" if the run has it.

    Raises:
        UserError: if the run, the checkpoint or the moving average does not exist.

    Example:
        >>> import hamgan
        >>> run = hamgan.load("digits")
        >>> run.sample(classes=["3", 7], per_class=8, seed=1, truncation=0.7).shape
        (16, 32, 32, 3)
    """
    return Run(path, checkpoint=checkpoint, weights=weights)


def _class_names(directory: RunDirectory, config: ExperimentConfig) -> list[str]:
    names = directory.read_class_names(config.model.num_classes)
    synsets = imagenet_synsets()
    is_imagenet = class_list_name(config.data.dataset) == IMAGENET and len(names) == len(synsets)
    # Converted runs have no names.
    return synsets if is_imagenet and not directory.records_class_names() else names
