"""Prepare a data set for segmentation as TFDS records.

  scenes     scikit-learn's handwritten digits on its two photographs; nothing is downloaded
  voc        PASCAL VOC 2012, with the labels of SBD
  folder     your own images and masks, from a folder, a zip or a tar

Existing data sets are kept. An interrupted preparation resumes.
"""

import argparse

from hamgan.cli.prepare import add_kinds, add_workers, data_dir_of
from hamgan.program import import_tensorflow_quietly

_SCENES = """Prepare scenes of handwritten digits.

  hamnet prepare scenes --data_dir data

Digits on photographs, 128x128 pixels, in eleven classes: the background and ten digits. Training and validation scenes
share neither digits nor regions of the photographs. Writes the TFDS data set scenes.
"""

_VOC = """Prepare PASCAL VOC 2012 for segmentation.

  hamnet prepare voc --source VOCtrainval_11-May-2012.tar --sbd benchmark_RELEASE --data_dir data

The source is the devkit, as its tar or as a folder. SBD is the folder of the unpacked benchmark.tgz, or a folder
SegmentationClassAug of its labels as PNG files, which may also lie in the devkit. Writes the TFDS data set voc2012:

  train, validation, trainval   by the lists of the devkit: 1,464, 1,449 and 2,913 images
  trainaug                      train and the images of SBD, without the validation images: 10,582

Masks of VOC, with their borders to ignore, take precedence over those of SBD. Whatever is skipped or looks wrong is
reported in preparation.json and preparation.html beside the records. You can interrupt the command at any time; run it
again to resume, to the same bytes.
"""

_FOLDER = """Prepare your own images and masks.

  hamnet prepare folder --source streets --name streets --data_dir data

The source is a folder, a zip or an uncompressed tar, local or in a bucket. Archives are read in place. It holds:
  images/NAME.jpg masks/NAME.png    equal names; deeper folders are part of the name
  classes.txt                       the name of one class on each line
Splits that exist already are used: train/images/..., val/images/..., or images/train/..., images/val/....

Masks store an index for each pixel, as a PNG with a palette or in gray. The first line of classes.txt is the class of
the smallest index that is not ignored, usually 0. Whatever is skipped or looks wrong is reported in preparation.json
and preparation.html beside the records. You can interrupt the command at any time; run it again to resume, to the same
bytes.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_kinds(
        parser,
        ("scenes", _SCENES, lambda parser: None),
        ("voc", _VOC, _add_voc_arguments),
        ("folder", _FOLDER, _add_folder_arguments),
    )


def _add_strict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--strict", action="store_true", help="refuse a source with problems instead of skipping files")


def _add_voc_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", required=True, metavar="PATH", help="devkit of PASCAL VOC 2012, a folder or tar")
    parser.add_argument("--sbd", metavar="PATH", help="labels of SBD (default: none, and no split trainaug)")
    parser.add_argument(
        "--partial", action="store_true", help="accept other numbers of images than those of PASCAL VOC 2012"
    )
    _add_strict(parser)
    add_workers(parser)


def _add_folder_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", required=True, metavar="PATH", help="folder, zip or uncompressed tar")
    parser.add_argument(
        "--name", required=True, metavar="NAME", help="name of the new data set: small letters, digits and _"
    )
    parser.add_argument(
        "--ignore",
        nargs="*",
        type=int,
        default=[255],
        metavar="VALUE",
        help="values of pixels without a class; no value for none (default: 255)",
    )
    parser.add_argument(
        "--validation_split",
        metavar="SIZE",
        help="share or number of the images to hold out for validation, such as 10%% or 500; 0 for none "
        "(default: 10%%, or the splits of the source)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the validation split (default: 0)")
    _add_strict(parser)
    add_workers(parser)


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    _RUN[arguments.what](arguments)


def _prepare_scenes(arguments: argparse.Namespace) -> None:
    import_tensorflow_quietly()

    from hamgan.segmentation.data.scenes import prepare_scenes

    builder = prepare_scenes(data_dir_of(arguments))
    splits = ", ".join(f"{split.num_examples:,} {name}" for name, split in builder.info.splits.items())
    print(f"Data set    {builder.data_path} ({splits} images)")


def _prepare_voc(arguments: argparse.Namespace) -> None:
    from data_prep.local_workers import start_importing

    start_importing()
    import_tensorflow_quietly()

    from data_prep.image_folder import check_outside
    from data_prep.masked_form import MaskedImages
    from data_prep.prepare import Request, prepare
    from data_prep.voc import Voc

    data_dir = data_dir_of(arguments)
    for source in filter(None, (arguments.source, arguments.sbd)):
        check_outside(data_dir, source)
    collection = Voc(arguments.source, arguments.sbd, arguments.partial)
    form = MaskedImages("voc2012", "PASCAL VOC 2012 with the labels of SBD, prepared by 'hamnet prepare voc'.")
    prepare(Request(collection, data_dir, [form], strict=arguments.strict, workers=arguments.workers))


def _prepare_folder(arguments: argparse.Namespace) -> None:
    from data_prep.local_workers import start_importing

    start_importing()
    import_tensorflow_quietly()

    from data_prep.image_folder import check_outside
    from data_prep.mask_folder import MaskFolder
    from data_prep.masked_form import MaskedImages
    from data_prep.prepare import Request, prepare

    data_dir = data_dir_of(arguments)
    collection = MaskFolder(
        arguments.source, arguments.name, tuple(arguments.ignore), arguments.validation_split, arguments.seed
    )
    check_outside(data_dir, arguments.source)
    form = MaskedImages(arguments.name, "Images and masks prepared by 'hamnet prepare folder'.")
    prepare(Request(collection, data_dir, [form], strict=arguments.strict, workers=arguments.workers))


_RUN = {
    "scenes": _prepare_scenes,
    "voc": _prepare_voc,
    "folder": _prepare_folder,
}
