"""Values of a config that come from the data set: classes, resolution and splits."""

import dataclasses

from hamgan.architecture import RESOLUTIONS
from hamgan.config import FROM_DATASET, ContextConfig, ExperimentConfig, ModelConfig
from hamgan.data.dataset import ClassificationDataset
from hamgan.errors import UserError

LARGEST_CONTEXT_RESOLUTION = 32


def fitted_config(config: ExperimentConfig) -> ExperimentConfig:
    """Returns a config with the values of its data set in place of ``FROM_DATASET``.

    The resolution is that of the stored images. Context modules process feature maps of 32x32, or of 16x16 for images
    of 32x32: the largest that both networks have. Splits are those of :func:`hamgan.data.splits.with_splits`.

    Args:
        config: any config. One without ``FROM_DATASET`` is returned as it is, without opening the data set.

    Raises:
        UserError: the data set cannot be used, has no such splits, or its images are not all of one resolution that the
            networks support.
    """
    model, data = config.model, config.data
    of_dataset = (model.num_classes, model.resolution, data.train_split, data.validation_split)
    if FROM_DATASET in of_dataset:
        dataset = ClassificationDataset(data)
        data = dataset.config
        model = _fitted_model(model, dataset)
    return dataclasses.replace(config, model=_with_context_resolutions(model), data=data)


def _fitted_model(model: ModelConfig, dataset: ClassificationDataset) -> ModelConfig:
    num_classes = dataset.num_classes if model.num_classes is FROM_DATASET else model.num_classes
    resolution = _stored_resolution(dataset) if model.resolution is FROM_DATASET else model.resolution
    return dataclasses.replace(model, num_classes=num_classes, resolution=resolution)


def _stored_resolution(dataset: ClassificationDataset) -> int:
    height, width = dataset.image_size
    if height == width and height in RESOLUTIONS:
        return height
    found = "images of different sizes" if None in (height, width) else f"images of {height}x{width}"
    supported = ", ".join(map(str, RESOLUTIONS))
    raise UserError(
        f"data set '{dataset.config.dataset}' holds {found}; choose the resolution of the networks "
        f"({supported}), such as --override model.resolution={RESOLUTIONS[1]}"
    )


def _with_context_resolutions(model: ModelConfig) -> ModelConfig:
    # The largest feature maps in the discriminator that a module can process are half the size of the images.
    resolution = min(LARGEST_CONTEXT_RESOLUTION, model.resolution // 2)

    def fitted(modules: tuple[ContextConfig, ...]) -> tuple[ContextConfig, ...]:
        return tuple(
            dataclasses.replace(module, resolution=resolution) if module.resolution is FROM_DATASET else module
            for module in modules
        )

    return dataclasses.replace(
        model,
        generator=dataclasses.replace(model.generator, context=fitted(model.generator.context)),
        discriminator=dataclasses.replace(model.discriminator, context=fitted(model.discriminator.context)),
    )
