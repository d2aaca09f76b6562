"""A small HamNet with Keras's ``compile`` and ``fit``: python examples/keras_fit_hamnet.py --epochs 10 --steps 150"""

import argparse

import keras
import tensorflow as tf

from hamgan.config import CropConfig, DataConfig
from hamgan.segmentation import HamNet, ResNet
from hamgan.segmentation.data.augmentation import normalise
from hamgan.segmentation.data.dataset import SegmentationDataset
from hamgan.segmentation.data.masks import IGNORED
from hamgan.segmentation.data.scenes import prepare_scenes
from hamgan.segmentation.training.loss import pixel_losses

BATCH = 8
VALIDATION_IMAGES = 80


def loss(masks, logits):
    """Mean cross-entropy of all pixels; those to ignore count as 0."""
    return tf.reduce_mean(pixel_losses(logits, masks))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=150, help="steps per epoch")
    parser.add_argument("--data_dir", default="data")
    arguments = parser.parse_args()

    prepare_scenes(arguments.data_dir)  # Digits on photographs, 128x128, with masks.
    scenes = SegmentationDataset(DataConfig(dataset="scenes", data_dir=arguments.data_dir))
    training = scenes.training_batches(CropConfig(crop=129, ratios=(0.75, 1.0, 1.25), flip=False), batch=BATCH, seed=0)
    validation = scenes.evaluation_batches("validation", batch=BATCH, last=VALIDATION_IMAGES)

    backbone = ResNet(depths=(1, 1, 1, 1), base_channels=16, batch_norm_momentum=0.97)
    settings = {"head_channels": 64, "align_channels": 64, "rank": 16, "batch_norm_momentum": 0.97}
    network = HamNet(backbone, num_classes=scenes.num_classes, **settings)
    mean_iou = keras.metrics.MeanIoU(scenes.num_classes, ignore_class=IGNORED, sparse_y_pred=False, name="mean_iou")
    network.compile(keras.optimizers.AdamW(2e-3, weight_decay=0.01), loss=loss, weighted_metrics=[mean_iou])
    network.fit(
        training,
        epochs=arguments.epochs,
        steps_per_epoch=arguments.steps,
        validation_data=validation.map(lambda images, masks: (normalise(images), masks)),
        verbose=2,
    )
    network.save("hamnet.keras")
