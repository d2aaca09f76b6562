"""The arms of a comparison: what stands in each place of a preset's context modules."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hamgan.architecture import HAM_NAMES
from hamgan.config import ExperimentConfig, override
from hamgan.config.context import ContextConfig, HamConfig
from hamgan.config.context_modules import CONTEXT_CONFIGS
from hamgan.errors import UserError, did_you_mean

NONE = "none"
HAMBURGER = "hamburger"
SEGMENTATION_HAMBURGER = "segmentation_hamburger"
MAIN = (NONE, *HAM_NAMES, "self_attention")
"""The arms of the paper's question."""
OTHERS = tuple(name for name in CONTEXT_CONFIGS if name not in (HAMBURGER, *MAIN))
"""All further modules, in their default form; the block of segmentation networks with the preset's D, R and K."""
SWEEPS = (
    *(f"K={steps}:num_steps={steps}" for steps in (1, 3, 10)),
    *(f"R={rank}:rank={rank}" for rank in (2, 16)),
    *(f"D={width}:latent_dim={width}" for width in (8, 64)),
    "unrolled:gradient=unrolled",
)
"""Settings of the preset's Hamburger, as in the paper's ablations."""
NETWORKS = ("generator", "discriminator")


class Arm(NamedTuple):
    """What stands in each place of the preset's context modules.

    Args:
        name: name in tables.
        settings: assignments to fields of each context module, such as "module=non_local" or "rank=2", or to any field
            of the config by its dotted path; None removes the modules.
    """

    name: str
    settings: tuple[str, ...] | None

    @property
    def file_name(self) -> str:
        """Name of the arm in file names."""
        return re.sub(r"[^A-Za-z0-9]+", "_", self.name).strip("_")

    def overrides(self, config: ExperimentConfig) -> list[str]:
        """Returns the arm as overrides of a config."""
        if self.settings is None:
            return [f"model.{network}.context=none" for network in NETWORKS]
        assignments = [setting for setting in self.settings if "." in setting.partition("=")[0]]
        for network in NETWORKS:
            for index, module in enumerate(getattr(config.model, network).context):
                place = f"model.{network}.context.{index}"
                settings = [setting for setting in self.settings if setting not in assignments]
                assignments += [f"{place}.{setting}" for setting in (*settings, *self._kept(module))]
        return assignments

    def _kept(self, module: ContextConfig) -> list[str]:
        """Settings of the preset's Hamburger for the block of segmentation networks, which has the same ones."""
        if self.settings != (f"module={SEGMENTATION_HAMBURGER}",) or not isinstance(module, HamConfig):
            return []
        return [f"{name}={getattr(module, name)}" for name in ("latent_dim", "rank", "num_steps")]


def arm(text: str) -> Arm:
    """Returns the arm that a text describes.

    Args:
        text: "none"; "nmf", "cd" or "vq" for a Hamburger; the name of another context module; or an arm of one's own,
            "NAME:FIELD=VALUE,FIELD=VALUE".

    Raises:
        UserError: if the text is none of these.
    """
    if text == NONE:
        return Arm(text, None)
    if text in HAM_NAMES:
        return Arm(text, (f"module={HAMBURGER}", f"ham={text}"))
    if text in CONTEXT_CONFIGS:
        return Arm(text, (f"module={text}",))
    name, colon, settings = text.partition(":")
    if not colon:
        known = (NONE, *HAM_NAMES, *CONTEXT_CONFIGS)
        hint = did_you_mean(text, known) or f"; expected one of {', '.join(known)}, or NAME:FIELD=VALUE"
        raise UserError(f"unknown context module '{text}'{hint}")
    assignments = tuple(settings.split(","))
    if not re.search(r"[A-Za-z0-9]", name) or not all(re.fullmatch(r"[\w.]+=.+", item) for item in assignments):
        raise UserError(f"expected an arm of the form NAME:FIELD=VALUE,FIELD=VALUE, found '{text}'")
    return Arm(name, assignments)


def arms(texts: Iterable[str], config: ExperimentConfig) -> list[Arm]:
    """Returns arms whose settings fit a config.

    Args:
        texts: descriptions for :func:`arm`.
        config: config whose context modules the arms replace or change.

    Raises:
        UserError: if an arm is unknown or described twice, if its settings do not fit, or if there is nothing to
            replace.
    """
    if not all(getattr(config.model, network).context for network in NETWORKS):
        raise UserError(
            "expected a context module to replace in the generator and the discriminator, found none; add "
            "model.generator.context.0.module=hamburger, or the same of the discriminator, to --override"
        )
    found = [arm(text) for text in texts]
    check_names(found)
    for each in found:
        override(config, each.overrides(config))
    return found


def check_names(found: Sequence[Arm]) -> None:
    """Raises UserError if two arms would share their files."""
    names = [each.file_name for each in found]
    twice = sorted({each.name for each in found if names.count(each.file_name) > 1})
    if twice:
        raise UserError(f"expected arms with different names, found {' and '.join(twice)} more than once")
