"""Prepare a data set as TFDS records.

  digits   scikit-learn's 1,797 handwritten digits, enlarged to 32x32 RGB; nothing is downloaded. Also trains a small
           classifier and exports it as a SavedModel for 'hamgan evaluate --classifier'.

What is there already is left as it is.
"""

import argparse
import os

from hamgan.cli.options import add_data_dir
from hamgan.cli.tensorflow_import import import_tensorflow_quietly


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("dataset", choices=("digits",), help="the data set")
    add_data_dir(parser)
    parser.add_argument(
        "--classifier", metavar="DIR", help="where the classifier goes (default: DATA_DIR/digits_classifier)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    import_tensorflow_quietly()
    import tensorflow_datasets as tfds

    from hamgan.data.digits import prepare_digits
    from hamgan.evaluation.small_classifier import prepare_digits_classifier

    data_dir = arguments.data_dir or str(tfds.core.constants.DATA_DIR)
    builder = prepare_digits(data_dir)
    classifier = arguments.classifier or os.path.join(data_dir, "digits_classifier")
    prepare_digits_classifier(data_dir, classifier)
    splits = ", ".join(f"{split.num_examples} {name}" for name, split in builder.info.splits.items())
    print(f"Data set    {builder.data_path} ({splits} images)")
    print(f"Classifier  {classifier}")
