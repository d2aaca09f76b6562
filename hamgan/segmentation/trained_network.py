"""A trained segmentation network and what one does with it, wherever its weights come from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from hamgan.counted import counted
from hamgan.errors import UserError
from hamgan.segmentation.evaluation.evaluate import Pairs, SegmentationEvaluation, evaluate_network
from hamgan.segmentation.networks.network import SegmentationNetwork
from hamgan.segmentation.prediction.inference import SINGLE_SCALE, InferenceSettings, MaskPredictor
from hamgan.segmentation.prediction.predict import Predictions, predict_files
from hamgan.segmentation.prediction.prediction_folder import DEFAULT_KINDS
from hamgan.segmentation.published.convert import KERAS_ENDING, read_model

__all__ = ["NetworkInMemory", "TrainedNetwork"]

if TYPE_CHECKING:
    from hamgan.sampling.export.report import ExportedFile


class TrainedNetwork:
    """A trained network with the names of its classes.

    Subclasses set or define ``network``.

    Args:
        class_names: name of each class.

    Attributes:
        network: segmentation network.
        class_names: name of each class.

    Example:
        >>> import hamgan
        >>> from hamgan.segmentation.trained_network import TrainedNetwork
        >>> isinstance(hamgan.load("runs/scenes"), TrainedNetwork)
        True
    """

    network: SegmentationNetwork

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = list(class_names)
        self._predictors: dict[InferenceSettings, MaskPredictor] = {}

    @property
    def settings(self) -> InferenceSettings:
        """How images are segmented by default."""
        return SINGLE_SCALE

    def predict(
        self, images: np.ndarray | Sequence[np.ndarray], settings: InferenceSettings | None = None
    ) -> np.ndarray | list[np.ndarray]:
        """Returns the class of each pixel.

        Args:
            images: an RGB image, uint8, shape ``(height, width, 3)``; a batch of images, shape
                ``(batch, height, width, 3)``; or a list of images of any sizes.
            settings: how to apply the network, such as
                :data:`hamgan.segmentation.prediction.inference.MULTI_SCALE_FLIP`; by default, ``self.settings``.

        Returns:
            Classes, uint8: a mask of shape ``(height, width)``, masks of shape ``(batch, height, width)``, or a list of
            masks.

        Raises:
            UserError: an image has another shape or dtype, or does not fit into memory.
        """
        if not isinstance(images, np.ndarray):
            return [np.asarray(self.predict(np.asarray(image), settings)) for image in images]
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.shape[-1] != 3:
            raise UserError(
                "expected uint8 images of shape (height, width, 3) or (batch, height, width, 3), found "
                f"{images.dtype} of {images.shape}; convert them"
            )
        predictor = self._predictor(settings)
        return predictor(images) if images.ndim == 4 else predictor(images[np.newaxis])[0]

    def predict_files(
        self,
        source: str,
        out: str,
        *,
        settings: InferenceSettings | None = None,
        kinds: Sequence[str] = DEFAULT_KINDS,
        names_file: str | None = None,
    ) -> Predictions:
        """Predicts a picture, or all pictures of a folder, one after the other; the same call resumes.

        Args:
            source: a picture, or a folder with pictures, local or ``gs://``.
            out: folder for the results, or a name that ends in ``.tar``, for masks in the layout of PASCAL VOC's
                evaluation server.
            settings: how to apply the network; by default, ``self.settings``.
            kinds: kinds of results in a folder, "masks", "overlays" and "pairs".
            names_file: text file with the names of the pictures to choose, one on each line, without their endings.

        Returns:
            The number of predictions, and the files that cannot be read as pictures.
        """
        return predict_files(
            self._predictor(settings),
            source,
            out,
            class_names=self.class_names,
            kinds=kinds,
            names_file=names_file,
        )

    def _predictor(self, settings: InferenceSettings | None) -> MaskPredictor:
        settings = self.settings if settings is None else settings
        if settings not in self._predictors:
            self._predictors[settings] = MaskPredictor(self.network, settings)
        return self._predictors[settings]

    def evaluate_pairs(
        self,
        pairs: Pairs,
        *,
        settings: InferenceSettings | None = None,
        batch: int = 1,
        total: int | None = None,
        keep_worst: int = 0,
    ) -> SegmentationEvaluation:
        """Scores the network on images with masks.

        Args:
            pairs: images and masks, read one after the other.
            settings: how to apply the network; by default, ``self.settings``.
            batch: largest number of images per batch; only neighbours of equal size share one.
            total: number of images, for the progress bar.
            keep_worst: number of images with the lowest mean IoU to keep.

        Returns:
            Confusion matrix, scores and the worst images.
        """
        return evaluate_network(
            self.network,
            pairs,
            class_names=self.class_names,
            settings=self.settings if settings is None else settings,
            batch=batch,
            total=total,
            keep_worst=keep_worst,
        )

    def export(
        self,
        out: str,
        *,
        formats: Sequence[str] = ("savedmodel", "keras", "tflite", "onnx"),
        size: tuple[int, int] = (513, 513),
    ) -> "list[ExportedFile]":
        """Exports the network to files that run elsewhere, with fixed bases.

        Args:
            out: new or empty local folder.
            formats: formats of the files: "savedmodel", "keras", "tflite" and "onnx". ONNX needs ``hamgan[onnx]``.
            size: height and width of the images of TFLite and ONNX, in pixels.

        Returns:
            For each file, its format, name, size, difference from the logits of the Keras model, and CPU time.
        """
        from hamgan.segmentation.export import export_network

        return export_network(self.network, out, class_names=self.class_names, formats=formats, size=size)


class NetworkInMemory(TrainedNetwork):
    """A network that was built or loaded before.

    Args:
        network: segmentation network.
        class_names: name of each class; by default, the labels as text.

    Raises:
        UserError: the number of names is not that of the network's classes.

    Example:
        >>> import numpy as np
        >>> from hamgan.segmentation import HamNet, ResNet
        >>> from hamgan.segmentation.trained_network import NetworkInMemory
        >>> network = HamNet(ResNet(depths=(1, 1, 1, 1), base_channels=8), num_classes=2, head_channels=16, rank=4)
        >>> NetworkInMemory(network, ["ground", "sky"]).predict(np.zeros((48, 64, 3), np.uint8)).shape
        (48, 64)
    """

    def __init__(self, network: SegmentationNetwork, class_names: Sequence[str] | None = None) -> None:
        count = network.head.num_classes
        super().__init__([str(label) for label in range(count)] if class_names is None else class_names)
        self.network = network
        if len(self.class_names) != count:
            raise UserError(
                f"expected names of {counted(count, 'class')}, found {len(self.class_names)}; name each class"
            )


def load_network_file(path: str) -> NetworkInMemory:
    """Loads a segmentation network from a Keras file, as ``hamnet convert`` and ``hamnet export`` write it.

    Args:
        path: local path of a ``.keras`` file.

    Raises:
        UserError: the file cannot be read, or has another model.
    """
    model: keras.Model = read_model(path)
    if not isinstance(model, SegmentationNetwork):
        raise UserError(f"{path}: expected a network that segments images, found {model.name}; choose another file")
    return NetworkInMemory(model)


def is_network_file(path: str) -> bool:
    """Whether a path is that of a Keras file, by its ending."""
    return path.lower().endswith(KERAS_ENDING)
