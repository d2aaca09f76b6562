"""HamNet: a dilated ResNet with a Hamburger block."""

from typing import Any

import keras

from hamgan.layers.segmentation_hamburger import SegmentationHamburger
from hamgan.segmentation.networks.hamnet_head import HamNetHead
from hamgan.segmentation.networks.network import SegmentationNetwork
from hamgan.segmentation.networks.normalization import HAMNET_NORM_MOMENTUM
from hamgan.segmentation.networks.resnet import ResNet


@keras.saving.register_keras_serializable(package="hamgan")
class HamNet(SegmentationNetwork):
    """HamNet: logits at the size of the images, from the last stage of a ResNet and a Hamburger block.

    The default is the network of 85.94 mIoU on the test set of PASCAL VOC 2012. Images may have any size; with sizes
    8k + 1, the corners of the image stay at the corners of all feature maps. The constructor creates all weights.

    Args:
        backbone: "resnet50", "resnet101", "resnet152", or a Keras model of images whose last features are used, such as
            a small :class:`hamgan.segmentation.ResNet`.
        num_classes: number of classes.
        version: version of the Hamburger block, "v1", "v2" or "v2plus", see
            :class:`hamgan.layers.SegmentationHamburger`; None leaves the block out, for comparison.
        output_stride: stride of the backbone's last stage, 8 or 16, if the backbone is a name.
        head_channels: number of channels C before and after the block.
        align_channels: number of channels before the classifier.
        latent_dim: number of channels D of each section; None means ``head_channels // num_sections``.
        rank: number of bases R. It does not change the weights, so that a checkpoint does not show it: 64 in the
            published "v2", 512 in "v2plus".
        num_steps: number of iterations K of the ham.
        evaluation_steps: number of iterations K outside training; None means ``num_steps``.
        num_sections: number of sections S.
        ham: matrix decomposition, "nmf", "cd" or "vq".
        form: "spatial", "channel" or, with "v2plus", "dual".
        cheese_factor: divisor of the width of the cheese; "v2plus" only.
        zero_ham: whether the scale of the branch starts at 0; "v2plus" only.
        bases: source of initial bases in training.
        evaluation_bases: source of initial bases outside training. With "fixed", results are deterministic; the
            published code draws them at each call ("random").
        bases_momentum: decay of running bases, in [0, 1).
        gradient: part of the ham that is differentiated, "one_step" or "unrolled".
        inverse_temperature: factor of the scores inside the softmax; "cd" and "vq" only.
        ridge: weight of the identity in the ridge regression; "cd" only.
        seed: integer seed of the bases; None draws a seed.
        dropout_rate: probability of dropping a channel before the classifier in training.
        batch_norm_momentum: decay of the moving averages, in [0, 1). The published 0.9997 suits runs of tens of
            thousands of steps.
        channels: number of channels of the images.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021).

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.segmentation import HamNet, ResNet
        >>> backbone = ResNet(depths=(1, 1, 1, 1), base_channels=8)
        >>> network = HamNet(backbone, version="v2", num_classes=21, head_channels=16, align_channels=8, rank=4)
        >>> network(tf.zeros((2, 65, 49, 3))).shape
        TensorShape([2, 65, 49, 21])
    """

    def __init__(
        self,
        backbone: str | keras.Model = "resnet101",
        *,
        num_classes: int,
        version: str | None = "v2",
        output_stride: int = 8,
        head_channels: int = 512,
        align_channels: int = 256,
        latent_dim: int | None = None,
        rank: int = 64,
        num_steps: int = 6,
        evaluation_steps: int | None = None,
        num_sections: int = 1,
        ham: str = "nmf",
        form: str = "spatial",
        cheese_factor: int | None = None,
        zero_ham: bool = True,
        bases: str = "random",
        evaluation_bases: str = "fixed",
        bases_momentum: float = 0.1,
        gradient: str = "one_step",
        inverse_temperature: float | None = None,
        ridge: float | None = None,
        seed: int | None = None,
        dropout_rate: float = 0.1,
        batch_norm_momentum: float = HAMNET_NORM_MOMENTUM,
        channels: int = 3,
        name: str = "hamnet",
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        settings: dict[str, Any] = {
            "num_steps": num_steps,
            "evaluation_steps": evaluation_steps,
            "num_sections": num_sections,
            "ham": ham,
            "form": form,
            "cheese_factor": cheese_factor,
            "zero_ham": zero_ham,
            "bases": bases,
            "evaluation_bases": evaluation_bases,
            "bases_momentum": bases_momentum,
            "gradient": gradient,
            "inverse_temperature": inverse_temperature,
            "ridge": ridge,
            "seed": seed,
        }
        common: dict[str, Any] = {"batch_norm_momentum": batch_norm_momentum, "dtype": dtype}
        hamburger = None
        if version is not None:
            hamburger = SegmentationHamburger(
                head_channels // num_sections if latent_dim is None else latent_dim,
                rank,
                version=version,
                name="hamburger",
                **settings,
                **common,
            )
        head = HamNetHead(
            num_classes,
            context=hamburger,
            channels=head_channels,
            align_channels=align_channels,
            dropout_rate=dropout_rate,
            name="head",
            **common,
        )
        super().__init__(
            ResNet(backbone, output_stride=output_stride, channels=channels, **common)
            if isinstance(backbone, str)
            else backbone,
            head,
            stages=(-1,),
            align_corners=True,
            channels=channels,
            name=name,
            dtype=dtype,
            **kwargs,
        )
        self._arguments: dict[str, Any] = {
            "num_classes": num_classes,
            "version": version,
            "output_stride": output_stride,
            "head_channels": head_channels,
            "align_channels": align_channels,
            "latent_dim": latent_dim,
            "rank": rank,
            **settings,
            "seed": seed if hamburger is None else hamburger.seed,
            "dropout_rate": dropout_rate,
            "batch_norm_momentum": batch_norm_momentum,
            "channels": channels,
        }
        self._backbone_name = backbone if isinstance(backbone, str) else None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        backbone = self._backbone_name or keras.saving.serialize_keras_object(self.backbone)
        return {**keras.Model.get_config(self), "backbone": backbone, **self._arguments}
