"""MkDocs hook: a page with every setting, its type, default and meaning, and one with the presets."""

import ast
import dataclasses
import inspect
import itertools
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from hamgan import config as configs
from hamgan.config import ExperimentConfig, SegmentationConfig
from hamgan.config.presets import PRESETS
from hamgan.config.segmentation_presets import SEGMENTATION_PRESETS

GAN_GROUPS = {
    "model": configs.ModelConfig,
    "model.generator": configs.GeneratorConfig,
    "model.discriminator": configs.DiscriminatorConfig,
    "data": configs.DataConfig,
    "train": configs.TrainConfig,
    "augmentation": configs.AugmentationConfig,
    "regularization": configs.RegularizationConfig,
    "evaluation": configs.EvaluationConfig,
}
SEGMENTATION_GROUPS = {
    "model": configs.SegmentationModelConfig,
    "model.backbone, kind resnet": configs.ResNetConfig,
    "model.backbone, kind mscan": configs.MSCANConfig,
    "model.head, kind hamnet": configs.HamNetHeadConfig,
    "model.head, kind light_ham": configs.LightHamHeadConfig,
    "model.head, kind ham": configs.HamHeadConfig,
    "data": configs.DataConfig,
    "augmentation": configs.CropConfig,
    "train": configs.SegmentationTrainConfig,
    "evaluation": configs.SegmentationEvaluationConfig,
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    for name, content in (("configuration", _configuration_page()), ("presets", _presets_page())):
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def _configuration_page() -> str:
    entries = [
        "# Configuration",
        "`--override` sets any of these fields by its dotted path, as in `--override train.steps=200 "
        "model.generator.context.0.rank=16`. A value of `none` is JSON's `null`. `config.json` of a run has all of "
        "them, and `hamgan train --dry_run` prints them.",
        "## GANs",
    ]
    entries += _tables(GAN_GROUPS)
    entries += ["## Context modules", _CONTEXT]
    entries += _tables({f"module {name}": kind for name, kind in configs.CONTEXT_CONFIGS.items()})
    entries += ["## Segmentation"]
    entries += _tables(SEGMENTATION_GROUPS)
    return "\n\n".join(entries) + "\n"


_CONTEXT = (
    "The entries of `model.generator.context` and `model.discriminator.context`. The dotted path has the index of the "
    "entry: `model.generator.context.0.rank`."
)


def _tables(groups: Mapping[str, type]) -> Iterator[str]:
    for title, kind in groups.items():
        yield f"### {title}"
        yield f"{_summary(kind)}"
        rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
        meanings = field_docstrings(kind)
        annotations = _annotations(kind)
        for field in dataclasses.fields(kind):
            default = _default(field)
            rows.append(f"| `{field.name}` | {annotations[field.name]} | {default} | {meanings.get(field.name, '')} |")
        yield "\n".join(rows)


def _summary(kind: type) -> str:
    text = _markdown(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].partition("; see :")[0])
    return text if text.endswith(".") else f"{text}."


def field_docstrings(kind: type) -> dict[str, str]:
    """Returns the strings that follow the fields of a dataclass, also those of its base classes, in one line each."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body  # type: ignore[attr-defined]
        for statement, following in itertools.pairwise(body):
            if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
                found[statement.target.id] = _markdown(ast.literal_eval(following.value))  # type: ignore
    return found


def _markdown(docstring: str) -> str:
    """Returns a docstring without the markup of Sphinx, each paragraph in one line."""
    text = re.sub(r":\w+:`([\w.]+)`", r"`\1`", docstring).replace("``", "`")
    return re.sub(r"(?<!\n)\n *(?![\n-])", " ", text)


def _annotations(kind: type) -> dict[str, str]:
    return {name: _type_name(hint) for name, hint in get_type_hints(kind).items()}


def _type_name(hint: Any) -> str:
    name = hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__args__") else str(hint)
    name = name.replace("hamgan.config.context.", "").replace("typing.", "")
    return " or ".join(f"`{part}`" for part in name.split(" | "))


def _default(field: dataclasses.Field) -> str:
    if field.default is dataclasses.MISSING:
        return "required"
    if dataclasses.is_dataclass(field.default):
        return "see below"
    if isinstance(field.default, tuple) and any(map(dataclasses.is_dataclass, field.default)):
        return ", ".join(f"`{value.module}`" for value in field.default)
    return f"`{json.dumps(field.default)}`"


def _presets_page() -> str:
    entries = [
        "# Presets",
        "`hamgan train --preset NAME` and `hamnet train --preset NAME` start from one of these configs. They have the "
        "[defaults](configuration.md) except for the values below; the data set determines values of `null`.",
    ]
    for title, presets, base in (
        ("GANs", PRESETS, ExperimentConfig("")),
        ("Segmentation", SEGMENTATION_PRESETS, SegmentationConfig("")),
    ):
        entries.append(f"## {title}")
        for name, preset in presets.items():
            changes = "\n".join(_changes(configs.to_dict(base), configs.to_dict(preset())))
            entries += [f"### {name}", _description(preset), f"```text\n{changes or '# the defaults'}\n```"]
    return "\n\n".join(entries) + "\n"


def _description(preset: Any) -> str:
    text = inspect.cleandoc(preset.__doc__).partition("\n\nExample:")[0].removeprefix("Returns ")
    return _markdown(text[0].upper() + text[1:])


def _changes(one: Any, other: Any, prefix: str = "") -> Iterator[str]:
    """Yields the fields of the other config with their values, where they differ."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for name in other:
            yield from _changes(one[name], other[name], f"{prefix}.{name}" if prefix else name)
    elif one != other and prefix != "name":
        yield f"{prefix} = {json.dumps(other)}"
