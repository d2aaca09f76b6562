"""Convert published weights of segmentation networks, in both directions.

hamnet convert --source hamnet.pth --network hamnet_resnet101_v2 --output hamnet.keras
hamnet convert --source segnext.pth --network segnext_base --override rank=16 --output segnext.keras
hamnet convert --source resnet101.pth --network resnet101 --output resnet101.npz
hamnet convert --source runs/voc --output hamnet.pth

Reads and writes .pth, which needs the package torch, .npz with the same names, and .keras; reads runs. Each tensor is
taken or listed as unused; a missing, unknown or misshapen one is an error. A checkpoint does not show the rank, the
number of iterations and similar settings: they are the published ones, unless --override gives others.
"""

import argparse
import collections
import json
from typing import Any

from hamgan.errors import UserError
from hamgan.program import import_tensorflow_quietly


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("--source", required=True, metavar="PATH", help="a .pth, .npz or .keras file, or a run folder")
    parser.add_argument("--output", required=True, metavar="PATH", help="the new .keras, .pth or .npz file")
    parser.add_argument(
        "--network",
        metavar="NAME",
        help="network of the published weights, such as hamnet_resnet101_v2, segnext_tiny or resnet101",
    )
    parser.add_argument("--num_classes", type=int, metavar="N", help="number of classes (default: that of the source)")
    parser.add_argument(
        "--override",
        nargs="+",
        action="extend",
        default=[],
        metavar="SETTING=VALUE",
        help="settings of the network that its weights do not show, such as rank=16 or evaluation_steps=7",
    )
    parser.add_argument(
        "--names",
        metavar="SOURCE",
        help="names to write: HamNet, PyTorch-Encoding, SegNeXt or mmsegmentation (default: those of the publisher)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    settings = _settings(arguments.override)
    import_tensorflow_quietly()
    from hamgan.segmentation.published.convert import convert

    conversion = convert(
        arguments.source,
        arguments.output,
        network=arguments.network,
        num_classes=arguments.num_classes,
        arguments=settings,
        names=arguments.names,
    )
    print(f"Taken    {len(conversion.taken):,} tensors")
    kinds = collections.Counter(name.rpartition(".")[2] for name in conversion.unused)
    listed = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    print(f"Unused   {len(conversion.unused):,}{f' ({listed})' if listed else ''}")
    print(f"Written  {arguments.output}")


def _settings(assignments: list[str]) -> dict[str, Any]:
    """Reads assignments such as ``rank=16``."""
    settings = {}
    for assignment in assignments:
        name, sign, value = assignment.partition("=")
        if not sign or not name:
            raise UserError(f"--override expects SETTING=VALUE, such as rank=16, found '{assignment}'")
        try:
            settings[name] = json.loads(value)
        except json.JSONDecodeError:
            settings[name] = value
    return settings
