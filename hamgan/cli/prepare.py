"""Prepare a data set as TFDS records, or a classifier.

  digits     scikit-learn's 1,797 handwritten digits, enlarged to 32x32 RGB; nothing is downloaded
  folder     your own pictures, from a folder, a zip or a tar
  imagenet   ImageNet (ILSVRC 2012) from the original tars or from folders

  classifier a small classifier of any prepared data set, to score samples where Inception is of no use

Existing data sets are kept. An interrupted preparation resumes.
"""

import argparse
import os
from collections.abc import Callable

from hamgan.cli.options import add_data_dir, positive_integer
from hamgan.errors import UserError, did_you_mean
from hamgan.program import import_tensorflow_quietly

_DIGITS = """Prepare the handwritten digits.

1,797 images in ten classes, with a train and a validation split. Also trains a small classifier and exports it as a
SavedModel for 'hamgan evaluate --classifier'.
"""

_CLASSIFIER = """Train a small classifier to score samples with.

A few convolutions, trained within minutes and exported as a SavedModel for 'hamgan evaluate --classifier'. Use its
scores to compare runs on one data set; they differ from the FID and IS of papers, which use Inception.
"""

_FOLDER = """Prepare your own pictures.

  hamgan prepare folder --source photographs --data_dir data --name flowers --resolution 128

The source is a folder, a zip or an uncompressed tar, local or in a bucket. Archives are read in place. Layouts:
  roses/*.jpg tulips/*.png ...      one folder per class; deeper folders belong to their class
  *.jpg                             one class
  labels.csv                        one row per picture, file,label, beside pictures in any folders
  train/roses/*.jpg val/roses/...   splits that exist already

Writes the TFDS data set NAME/RESOLUTION for 'hamgan train --dataset'. JPEG, PNG, WebP, BMP, GIF and TIFF files are
read, turned upright and cropped to a square. Whatever is skipped or looks wrong is reported in preparation.json and
preparation.html beside the records. You can interrupt the command at any time; run it again to resume, to the same
bytes.
"""

_IMAGENET = """Prepare ImageNet (ILSVRC 2012).

  hamgan prepare imagenet --source /data/ILSVRC2012 --data_dir /data/tfds
  hamgan prepare imagenet --train train.tar --validation val/ --form original 128 --data_dir gs://bucket/tfds

The source is ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar, or folders train/n01440764/*.JPEG and val/*.JPEG
(also val/n01440764/*.JPEG), or the folder of the Kaggle challenge; local or in a bucket. Tars are read in place.

Forms:
  original   TFDS's imagenet2012: the photographs, for 'hamgan train --dataset imagenet2012' (144 GiB)
  64, 128, 256
             imagenet_hamgan/RESOLUTION: cropped and resampled float32 images, with the same pixels as in training on
             the original form, several times as fast to read (61, 244, 975 GiB)

Every image is checked. By default, the check covers the structure of the file, which shows whether TensorFlow can
decode it. With --check full, it decodes the whole image, which takes about three times as long and also reports damage
that TensorFlow tolerates. Faulty images are repaired or skipped, and reported in preparation.json and preparation.html
beside the records. You can interrupt the command at any time; run it again to resume, to the same bytes.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_kinds(
        parser,
        ("digits", _DIGITS, _add_digits_arguments),
        ("folder", _FOLDER, _add_folder_arguments),
        ("imagenet", _IMAGENET, _add_imagenet_arguments),
        ("classifier", _CLASSIFIER, _add_classifier_arguments),
    )


def add_kinds(
    parser: argparse.ArgumentParser, *kinds: tuple[str, str, Callable[[argparse.ArgumentParser], None]]
) -> None:
    """Adds a subcommand for each kind of data set.

    Args:
        parser: parser of the command.
        kinds: name, help text and function that adds the options, of each kind.
    """
    datasets = parser.add_subparsers(
        dest="what", required=True, metavar="WHAT", parser_class=type(parser), title="what"
    )
    for name, description, add in kinds:
        subparser = datasets.add_parser(
            name,
            help=description.splitlines()[0],
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        add_data_dir(subparser)
        add(subparser)


def _add_digits_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--classifier", metavar="DIR", help="folder of the classifier (default: DATA_DIR/digits_classifier)"
    )


def _add_classifier_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, metavar="NAME", help="any prepared TFDS classification data set")
    parser.add_argument(
        "--resolution", type=positive_integer, required=True, metavar="N", help="resolution of its images"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the SavedModel, which must not exist")
    parser.add_argument(
        "--steps",
        type=positive_integer,
        default=600,
        metavar="N",
        help="number of training steps of 64 images (default: 600)",
    )


def _add_folder_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", required=True, metavar="PATH", help="folder, zip or uncompressed tar")
    parser.add_argument(
        "--name", required=True, metavar="NAME", help="name of the new data set: small letters, digits and _"
    )
    parser.add_argument(
        "--resolution",
        nargs="+",
        type=positive_integer,
        default=[128],
        metavar="N",
        help="any of 32, 64, 128, 256 (default: 128)",
    )
    parser.add_argument(
        "--validation_split",
        metavar="SIZE",
        help="share or number of the pictures to hold out for validation, such as 10%% or 500; 0 for none "
        "(default: 10%%, or the splits of the source)",
    )
    parser.add_argument(
        "--crop",
        default="center",
        metavar="HOW",
        help="center for the largest central square, pad for the whole picture on black (default: center)",
    )
    parser.add_argument(
        "--min_size",
        type=positive_integer,
        metavar="N",
        help="skip pictures whose shorter side has fewer pixels (default: none; small pictures are enlarged)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the validation split (default: 0)")
    add_workers(parser)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Adds ``--workers``, the number of processes."""
    parser.add_argument(
        "--workers", type=positive_integer, metavar="N", help="processes (default: one more than there are cores)"
    )


def _add_imagenet_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", metavar="DIR", help="folder with both splits, under their usual names")
    parser.add_argument("--train", metavar="PATH", help="tar or folder of the training images")
    parser.add_argument("--validation", metavar="PATH", help="tar or folder of the validation images")
    parser.add_argument(
        "--form",
        nargs="+",
        default=["original"],
        metavar="FORM",
        help="any of original, 64, 128, 256 (default: original)",
    )
    parser.add_argument(
        "--subset", metavar="SYNSETS", help="classes to prepare, such as n01440764,n02102040; labels stay the same"
    )
    parser.add_argument(
        "--per_class", type=positive_integer, metavar="N", help="maximum number of images of each class in each split"
    )
    parser.add_argument(
        "--strict", action="store_true", help="refuse faulty images instead of repairing or skipping them"
    )
    parser.add_argument(
        "--check",
        default="structure",
        metavar="HOW",
        help="extent of the check, structure or full (default: structure)",
    )
    add_workers(parser)
    parser.add_argument(
        "--beam",
        nargs="*",
        metavar="OPTION=VALUE",
        help="write with Apache Beam and these pipeline options, such as runner=DataflowRunner project=P region=R "
        "temp_location=gs://...",
    )


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    _RUN[arguments.what](arguments)


def _prepare_digits(arguments: argparse.Namespace) -> None:
    import_tensorflow_quietly()

    from hamgan.data.digits import prepare_digits
    from hamgan.evaluation.small_classifier import check_free, is_saved_model, prepare_digits_classifier

    data_dir = data_dir_of(arguments)
    classifier = arguments.classifier or os.path.join(data_dir, "digits_classifier")
    if not is_saved_model(classifier):
        check_free(classifier, "--classifier" if arguments.classifier else "--data_dir")
    builder = prepare_digits(data_dir)
    prepare_digits_classifier(data_dir, classifier)
    splits = ", ".join(f"{split.num_examples} {name}" for name, split in builder.info.splits.items())
    print(f"Data set    {builder.data_path} ({splits} images)")
    print(f"Classifier  {classifier}")


def _prepare_folder(arguments: argparse.Namespace) -> None:
    from data_prep.local_workers import start_importing

    start_importing()
    import_tensorflow_quietly()

    from data_prep.image_folder import ImageFolder, check_outside
    from data_prep.picture_form import get_picture_forms
    from data_prep.prepare import Request, prepare

    folder = ImageFolder(
        source=arguments.source,
        name=arguments.name,
        validation_split=arguments.validation_split,
        crop=arguments.crop,
        min_size=arguments.min_size,
        seed=arguments.seed,
    )
    forms = get_picture_forms(arguments.name, arguments.resolution)
    data_dir = data_dir_of(arguments)
    check_outside(data_dir, arguments.source)
    prepare(Request(folder, data_dir, forms, workers=arguments.workers))


def _prepare_imagenet(arguments: argparse.Namespace) -> None:
    if not (arguments.source or arguments.train or arguments.validation):
        raise UserError("expected --source DIR, or --train PATH and --validation PATH, found neither")
    try:
        import simplejpeg  # noqa: F401
    except ImportError as error:
        raise UserError(f"preparing ImageNet needs simplejpeg ({error}); pip install 'hamgan[imagenet]'") from error
    from data_prep.local_workers import start_importing

    start_importing()
    import_tensorflow_quietly()

    from data_prep.ilsvrc import label_of_synset
    from data_prep.imagenet import Imagenet, Selection, find_sources
    from data_prep.imagenet_forms import get_forms
    from data_prep.photograph import CHECKS
    from data_prep.prepare import Request, prepare

    synsets = None
    if arguments.subset is not None:
        synsets = tuple(dict.fromkeys(filter(None, arguments.subset.split(","))))
        for synset in synsets:
            if synset not in label_of_synset():
                hint = did_you_mean(synset, label_of_synset()) or "; they look like n01440764"
                raise UserError(f"--subset: '{synset}' is not a class of ILSVRC 2012{hint}")
        if not synsets:
            raise UserError("--subset: expected classes, such as n01440764,n02102040, found none")
    if arguments.check not in CHECKS:
        raise UserError(f"--check is structure or full, found '{arguments.check}'")
    forms = get_forms(arguments.form)
    sources = find_sources(arguments.source, arguments.train, arguments.validation)
    prepare(
        Request(
            collection=Imagenet(sources, Selection(synsets, arguments.per_class), arguments.check),
            data_dir=data_dir_of(arguments),
            forms=forms,
            strict=arguments.strict,
            workers=arguments.workers,
            beam_options=arguments.beam,
        )
    )


def _prepare_classifier(arguments: argparse.Namespace) -> None:
    import_tensorflow_quietly()

    from hamgan.config import FROM_DATASET, DataConfig
    from hamgan.evaluation.small_classifier import check_free, train_small_classifier

    check_free(arguments.out, "--out")
    config = DataConfig(arguments.dataset, arguments.data_dir, FROM_DATASET, FROM_DATASET)
    train_small_classifier(config, resolution=arguments.resolution, output=arguments.out, steps=arguments.steps)
    print(f"Classifier  {arguments.out}")


def data_dir_of(arguments: argparse.Namespace) -> str:
    """Returns ``--data_dir``, or TFDS's default folder."""
    import tensorflow_datasets as tfds

    return arguments.data_dir or str(tfds.core.constants.DATA_DIR)


_RUN = {
    "digits": _prepare_digits,
    "folder": _prepare_folder,
    "imagenet": _prepare_imagenet,
    "classifier": _prepare_classifier,
}
