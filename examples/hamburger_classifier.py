"""A Hamburger in a classifier of your own: global context between two convolutions, trained by ``fit``.

python examples/hamburger_classifier.py --epochs 10
"""

import argparse

import keras
import sklearn.datasets
import sklearn.model_selection

import hamgan


def digits():
    """Returns 8x8 images in [0, 1] and labels, split into training and test data."""
    data = sklearn.datasets.load_digits()
    images = (data.images[..., None] / 16).astype("float32")
    return sklearn.model_selection.train_test_split(images, data.target, test_size=0.2, random_state=0)


def classifier():
    """Returns a convolutional network with a Hamburger in the middle."""
    inputs = keras.Input((8, 8, 1))
    hidden = keras.layers.Conv2D(32, 3, padding="same", activation="relu")(inputs)
    # Residual, with a scale that starts at 0: it may be put into a trained network, too.
    hamburger = hamgan.layers.Hamburger(latent_dim=16, rank=8, batch_norm="plain", batch_norm_momentum=0.9, seed=0)
    hidden = hamburger(hidden)
    hidden = keras.layers.Conv2D(32, 3, strides=2, activation="relu")(hidden)
    outputs = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(hidden))
    return keras.Model(inputs, outputs)


def main():
    """Trains and tests the classifier."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    epochs = parser.parse_args().epochs

    keras.utils.set_random_seed(0)
    train_images, test_images, train_labels, test_labels = digits()
    model = classifier()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model.fit(train_images, train_labels, batch_size=32, epochs=epochs, verbose=2)
    _, accuracy = model.evaluate(test_images, test_labels, verbose=0)
    print(f"Test accuracy {accuracy:.1%}")


if __name__ == "__main__":
    main()
