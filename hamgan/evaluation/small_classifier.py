"""A small classifier that trains in seconds, for images that Inception was not trained for."""

import logging
import os

import keras
import tensorflow as tf

from hamgan.config import DataConfig
from hamgan.data.dataset import ClassificationDataset
from hamgan.data.digits import RESOLUTION, Digits
from hamgan.errors import UserError, reason_of
from hamgan.files import check_writable

_logger = logging.getLogger(__name__)

POOL_WIDTH = 64
STEPS = 600
BATCH = 64
LEARNING_RATE = 2e-3
SHIFT = 0.06
"""Training images are moved by up to this share of their size."""


def train_small_classifier(
    config: DataConfig, *, resolution: int, output: str, seed: int = 0, steps: int = STEPS
) -> float:
    """Trains a convolutional classifier on the train split of a data set and exports it as a SavedModel.

    The SavedModel takes float32 images in [-1, 1], ``(batch, resolution, resolution, 3)``, and returns ``logits``,
    ``(batch, num_classes)``, and ``pool_3``, the last hidden layer, ``(batch, 64)``.

    Args:
        config: config of the data set.
        resolution: height and width of the images.
        output: folder of the SavedModel, which appears once it is complete.
        seed: seed of weights, order and augmentation.
        steps: number of optimiser steps.

    Returns:
        Accuracy on the validation split, in [0, 1].

    Raises:
        UserError: the data set cannot be used.
    """
    dataset = ClassificationDataset(config)
    if dataset.num_classes < 2:
        raise UserError(
            f"data set '{config.dataset}' has a single class, a classifier expects at least two; evaluate with "
            "TF-GAN's Inception instead"
        )
    keras.utils.set_random_seed(seed)
    classifier = _classifier(resolution, dataset.num_classes)
    model = _with_augmentation(classifier, seed)
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    batches = dataset.training_batches(resolution=resolution, batch=BATCH, seed=seed)
    validation = dataset.evaluation_batches(dataset.config.validation_split, resolution=resolution, batch=BATCH)
    with dataset.reading():
        model.fit(batches, steps_per_epoch=steps, epochs=1, verbose=0, shuffle=False)
        accuracy = float(model.evaluate(validation, verbose=0, return_dict=True)["accuracy"])
    _logger.info("Classifier: accuracy %.1f%% on the validation split", 100 * accuracy)
    _export(classifier, resolution, output)
    return accuracy


def check_free(output: str, option: str) -> None:
    """Checks, before training, that a classifier can be written.

    Args:
        output: folder of the classifier.
        option: option that names it, for errors.

    Raises:
        UserError: the folder exists, or cannot be written.
    """
    try:
        if tf.io.gfile.exists(output):
            raise UserError(f"{output} exists already; choose another {option}, or remove it")
        check_writable(os.path.dirname(output.rstrip("/")) or ".")
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"cannot write the classifier {output}: {reason_of(error)}; choose another {option}") from error


def is_saved_model(path: str) -> bool:
    """Whether a folder contains a SavedModel."""
    return tf.io.gfile.exists(os.path.join(path, "saved_model.pb"))


def prepare_digits_classifier(data_dir: str, output: str) -> None:
    """Trains and exports the classifier of the embedded digits, unless it exists.

    Raises:
        UserError: the data set cannot be used.
    """
    if not is_saved_model(output):
        train_small_classifier(DataConfig(dataset=Digits.name, data_dir=data_dir), resolution=RESOLUTION, output=output)


def _classifier(resolution: int, num_classes: int) -> keras.Model:
    inputs = hidden = keras.Input((resolution, resolution, 3), name="images")
    for width in (16, 32, POOL_WIDTH):
        hidden = keras.layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False)(hidden)
        hidden = keras.layers.BatchNormalization(momentum=0.9)(hidden)
        hidden = keras.layers.ReLU()(hidden)
    hidden = keras.layers.Flatten()(hidden)
    pool_3 = keras.layers.Dense(POOL_WIDTH, activation="relu", name="pool_3")(hidden)
    logits = keras.layers.Dense(num_classes, name="logits")(pool_3)
    return keras.Model(inputs, {"logits": logits, "pool_3": pool_3})


def _with_augmentation(classifier: keras.Model, seed: int) -> keras.Model:
    """Returns a separate model with augmentation, because random layers cannot be exported."""
    inputs = keras.Input(classifier.input_shape[1:])
    shift = keras.layers.RandomTranslation(SHIFT, SHIFT, fill_mode="constant", fill_value=-1.0, seed=seed)
    return keras.Model(inputs, classifier(shift(inputs))["logits"])


def _export(classifier: keras.Model, resolution: int, output: str) -> None:
    module = tf.Module()
    module.classifier = classifier

    @tf.function(input_signature=[tf.TensorSpec((None, resolution, resolution, 3), tf.float32, name="images")])
    def classify(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return classifier(images, training=False)

    module.__call__ = classify
    output = output.rstrip("/")
    temporary = f"{output}.incomplete"
    if tf.io.gfile.exists(temporary):
        tf.io.gfile.rmtree(temporary)
    tf.io.gfile.makedirs(os.path.dirname(output) or ".")
    tf.saved_model.save(module, temporary, signatures={"serving_default": classify})
    tf.io.gfile.rename(temporary, output)
