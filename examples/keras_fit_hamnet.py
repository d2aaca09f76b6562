# %% [markdown]
# # Segmentation with HamNet
#
# At the end, you have trained a small HamNet that finds the pixels of handwritten digits on photographs. You have its
# scores, pictures of its predictions, and a file of the network.
#
# To follow along: `python examples/keras_fit_hamnet.py`, or `scripts/tutorials.sh keras_fit_hamnet`, which writes the
# notebook `build/tutorials/keras_fit_hamnet.ipynb`.

# %%
import itertools

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

from hamgan.config import CropConfig, DataConfig
from hamgan.segmentation import HamNet, ResNet
from hamgan.segmentation.data.augmentation import normalise
from hamgan.segmentation.data.dataset import SegmentationDataset
from hamgan.segmentation.data.masks import IGNORED
from hamgan.segmentation.data.scenes import prepare_scenes
from hamgan.segmentation.evaluation.evaluate import evaluate_iterations, evaluate_network
from hamgan.segmentation.trained_network import NetworkInMemory
from hamgan.segmentation.training.loss import pixel_losses

keras.utils.set_random_seed(0)
BATCH = 8

# %% [markdown]
# ## Data
#
# `prepare_scenes` draws 1,500 scenes: digits of scikit-learn on the two photographs that it ships, with the class of
# each pixel. Class 0 is the photograph, class d + 1 the digit d. To learn which digit it is takes thousands of steps:
# the preset `scenes` does that. Here, all digits are one class. The borders of the digits have the label 255, which
# counts neither in training nor in scores.

# %% picture="scenes" alt="Four photographs with digits, and their masks"
prepare_scenes("data")
scenes = SegmentationDataset(DataConfig(dataset="scenes", data_dir="data"))
print(scenes.num_classes, "classes:", *scenes.class_names)
CLASS_NAMES = ["background", "digit"]


def merged(images, masks):
    """Makes one class of all digits."""
    return images, tf.where(masks == IGNORED, masks, tf.minimum(masks, 1))


(images, masks), *_ = scenes.evaluation_batches("validation", batch=4, last=4).map(merged)
images, masks = images.numpy().astype("uint8"), masks.numpy()


def show(*rows):
    """Draws rows of images and masks."""
    _, axes = plt.subplots(len(rows), 4, figsize=(5, 1.25 * len(rows)))
    for axis, picture in zip(axes.flat, itertools.chain(*rows), strict=True):
        if picture.ndim == 2:
            picture = np.ma.masked_equal(picture, IGNORED)
        axis.imshow(picture, cmap="tab20", vmin=0, vmax=19, interpolation="nearest")
        axis.axis("off")
    plt.tight_layout(pad=0.2)
    plt.show()


show(images, masks)

# %% [markdown]
# ## Batches
#
# Training sees random crops of 65x65 pixels, scaled by random factors. Validation sees whole images. The network takes
# normalised images: `training_batches` returns these already, and `normalise` does it for the others.

# %%
training = scenes.training_batches(CropConfig(crop=65, ratios=(0.75, 1.0, 1.25), flip=False), batch=BATCH, seed=0)
training = training.map(merged)
validation = scenes.evaluation_batches("validation", batch=BATCH, last=32)
validation = validation.map(merged).map(lambda images, masks: (normalise(images), masks))

# %% [markdown]
# ## The network
#
# HamNet is a dilated ResNet with a Hamburger on its last features. The published one has a ResNet-101; this one has
# four blocks and few channels. It returns the logits of each pixel, at the size of the image.

# %%
backbone = ResNet(depths=(1, 1, 1, 1), base_channels=16, batch_norm_momentum=0.97)
settings = {"head_channels": 64, "align_channels": 64, "rank": 16, "batch_norm_momentum": 0.97}
network = HamNet(backbone, num_classes=len(CLASS_NAMES), **settings)
print("logits", network(normalise(images.astype("float32"))).shape)
print(f"{network.count_params():,} parameters")

# %% [markdown]
# ## Train
#
# The loss is the mean cross-entropy of all pixels; those to ignore count as 0. Mean IoU is the usual score: the overlap
# of predicted and true pixels of a class, divided by their union, averaged over the classes.


# %%
def loss(masks, logits):
    """Mean cross-entropy of all pixels."""
    return tf.reduce_mean(pixel_losses(logits, masks))


mean_iou = keras.metrics.MeanIoU(len(CLASS_NAMES), ignore_class=IGNORED, sparse_y_pred=False, name="mean_iou")
network.compile(keras.optimizers.AdamW(3e-3, weight_decay=0.01), loss=loss, weighted_metrics=[mean_iou])
history = network.fit(training, epochs=4, steps_per_epoch=60, validation_data=validation, verbose=0).history
for epoch in range(4):
    print(
        f"epoch {epoch + 1}", *(f"{name}: {history[name][epoch]:.3f}" for name in ("loss", "val_loss", "val_mean_iou"))
    )

# %% [markdown]
# ## Predictions
#
# `NetworkInMemory` applies a network to images of any size, without normalising them first. The rows are images, true
# masks and predictions:

# %% picture="predictions" alt="Four photographs with digits, their true masks, and the predicted masks"
trained = NetworkInMemory(network, class_names=CLASS_NAMES)
predictions = trained.predict(images)
show(images, masks, predictions)

# %% [markdown]
# ## Scores
#
# The scores of each class, on 32 scenes of the validation split:


# %%
def pairs(count=32):
    """Yields validation images and masks."""
    for image, mask in scenes.evaluation_batches("validation", batch=1, last=count).map(merged):
        yield image[0].numpy().astype("uint8"), mask[0].numpy()


print(evaluate_network(network, pairs(), class_names=CLASS_NAMES).table())

# %% [markdown]
# The matrix decomposition is an iteration. More iterations than in training, which had 6, approximate the features more
# closely. They can be changed without training again:

# %%
results = evaluate_iterations(network, pairs, num_steps=[1, 6, 12], class_names=CLASS_NAMES)
for num_steps, result in results.items():
    print(f"K = {num_steps:2}  mIoU {result.mean_iou:.3f}")

# %% [markdown]
# ## Save
#
# The file is a Keras model, which `hamnet predict`, `hamnet evaluate` and `hamnet export` also read:

# %%
network.save("hamnet.keras")
logits = keras.saving.load_model("hamnet.keras", compile=False)(normalise(images.astype("float32")))
print("Same predictions:", bool(np.mean(np.argmax(logits, axis=-1) == predictions) > 0.999))

# %% [markdown]
# ## Where to go next
#
# - [Train segmentation networks](../docs/training_segmentation.md): `hamnet train` adds checkpoints, exact resume,
#   schedules and the published presets.
# - [Your own masks](../docs/segmentation_own_masks.md): images and masks from folders.
# - [Segmentation](../docs/segmentation.md): published networks, prediction of large images, export.
