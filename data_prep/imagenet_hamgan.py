"""TFDS builder of ``imagenet_hamgan``: ImageNet, already cropped and resampled."""

from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from data_prep.ilsvrc import synsets
from hamgan.errors import UserError

RESOLUTIONS = (64, 128, 256)

_REMEDY = "write them with 'hamgan prepare imagenet --form 64, 128 or 256'"


class ImagenetHamgan(tfds.core.GeneratorBasedBuilder):
    """ImageNet (ILSVRC 2012), cropped and resampled as in the published HamGAN, float32 in [-1, 1].

    Pixels are the exact result of the preprocessing, not rounded to eight bits. ``hamgan prepare imagenet`` writes the
    records.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        tfds.core.BuilderConfig(name=str(resolution), description=f"{resolution}x{resolution} pixels")
        for resolution in RESOLUTIONS
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        resolution = int(self.builder_config.name)
        return self.dataset_info_from_configs(
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(
                        shape=(resolution, resolution, 3), dtype=np.float32, encoding=tfds.features.Encoding.BYTES
                    ),
                    "label": tfds.features.ClassLabel(names=list(synsets())),
                    "file_name": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://image-net.org/",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, object]:
        raise UserError(f"expected records of {self.name} in {self.data_path}, found none; {_REMEDY}")

    def _generate_examples(self) -> None:
        """Required by TFDS, never used: ``hamgan prepare`` writes the shards itself."""
        raise UserError(_REMEDY)
