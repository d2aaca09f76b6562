"""Model card of an exported generator: Markdown with the metadata that the Hugging Face Hub reads."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hamgan import __version__
from hamgan.config import ExperimentConfig
from hamgan.config.protocols import by_card, card_id, flat_card, has_score
from hamgan.counted import counted
from hamgan.networks import Generator
from hamgan.runs.directory import RunDirectory
from hamgan.runs.score_table import COLUMNS, extra_scores, real_of, shown
from hamgan.sampling.export.report import ExportedFile, header
from hamgan.sampling.export.verification import TOLERANCE

if TYPE_CHECKING:
    from hamgan.sampling.trained import Run

_MOST_CLASSES_LISTED = 20
_TASK = "unconditional-image-generation"
"""The Hub's name of the task; it has none for images of a class."""
_CITATION = """```bibtex
@inproceedings{geng2021attention,
  title     = {Is Attention Better Than Matrix Decomposition?},
  author    = {Geng, Zhengyang and Guo, Meng-Hao and Chen, Hongxu and Li, Xia and Wei, Ke and Lin, Zhouchen},
  booktitle = {International Conference on Learning Representations},
  year      = {2021}
}
```"""


def model_card(
    run: "Run",
    generator: Generator,
    files: Sequence[tuple[ExportedFile, str]],
    *,
    bases: str | None,
    license_id: str,
    evaluations: Sequence[dict[str, Any]],
) -> str:
    """Returns the model card.

    Args:
        run: run whose generator was exported.
        generator: the exported generator.
        files: exported files, each with Python code that uses it.
        bases: "fixed" or "random"; None for a generator without bases.
        license_id: the Hub's identifier of the license of the weights.
        evaluations: evaluations of the exported weights.
    """
    title = f"HamGAN: {run.config.name} on {run.config.data.dataset}"
    sections = {
        "Files": _files([file for file, _ in files]),
        "Use": _usage(files, bases),
        "Classes": _classes(run.class_names),
        "Scores": _scores(run, evaluations, bases),
        "Architecture": _architecture(run.config, generator, bases),
        "Training": _training(run),
        "License and citation": _license(license_id),
    }
    summary = (
        f"A class-conditional GAN with Hamburger layers (matrix decomposition as global context), exported by "
        f"HamGAN {__version__}. It generates {_images(generator)} of "
        f"{counted(generator.num_classes, 'class')}."
    )
    body = "\n\n".join(f"## {heading}\n\n{text}" for heading, text in sections.items() if text)
    picture = "![Generated images, one class per row](samples.png)"
    return f"{_metadata(run, license_id, evaluations)}\n# {title}\n\n{summary}\n\n{picture}\n\n{body}\n"


def _images(generator: Generator) -> str:
    kind = "RGB" if generator.channels == 3 else "gray"
    return f"{kind} images of {generator.resolution}x{generator.resolution} pixels"


def _metadata(run: "Run", license_id: str, evaluations: Sequence[dict[str, Any]]) -> str:
    """The YAML front matter; its values are JSON, which is YAML too."""
    config = run.config
    entries: dict[str, Any] = {
        "license": license_id,
        "library_name": "keras",
        "pipeline_tag": _TASK,
        "tags": ["gan", "hamgan", "hamburger", "class-conditional", "image-generation", "tensorflow", "keras"],
        "datasets": [config.data.dataset],
    }
    scored = [(title, name) for title, name, _ in COLUMNS if any(has_score(result, name) for result in evaluations)]
    if scored:
        entries["metrics"] = [name for _, name in scored]
        entries["model-index"] = [
            {
                "name": config.name,
                "results": [
                    {
                        "task": {"type": _TASK},
                        "dataset": {"name": config.data.dataset, "type": config.data.dataset},
                        "metrics": [
                            {
                                "type": name,
                                "name": f"{title} ({_bases_of(result)} bases, card {result['card_id']})",
                                "value": result["scores"][name],
                            }
                            for result in evaluations
                            for title, name in scored
                            if has_score(result, name)
                        ],
                    }
                ],
            }
        ]
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in entries.items()]
    return "\n".join(["---", *lines, "---", ""])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _files(files: Sequence[ExportedFile]) -> str:
    table = markdown_table(header(files), [file.cells() for file in files])
    text = (
        "The difference is the largest one from the images in [-1, 1] of the Keras model, for random inputs in several "
        f"batch sizes; the export accepts at most {TOLERANCE:g}. Times are medians on the CPU that exported the model."
    )
    return f"{table}\n\n{text}"


def _usage(files: Sequence[tuple[ExportedFile, str]], bases: str | None) -> str:
    parts = [
        "Run the code in this folder. `z` is standard normal; values closer to zero give more typical and less varied "
        "images. Labels are the indices of the classes; TFLite and ONNX do not check their range."
    ]
    if bases is not None:
        kinds = {
            "fixed": "The Hamburgers start from fixed bases, which are part of the model: equal inputs give equal "
            "images.",
            "random": "The Hamburgers start from new random bases in each call: equal inputs give slightly different "
            "images.",
        }
        parts.append(kinds[bases])
    if any(file.file == "saved_model" for file, _ in files):
        drawn = " and the initial bases" if bases is not None else ""
        parts.append(
            f"`sample` of the SavedModel draws z{drawn} from the seed. Image i depends on the seed, i and its label, "
            "and equals that of `hamgan.Run.sample`. `truncation` bounds z; `float('inf')` does not truncate."
        )
    codes = [f"{file.format}:\n\n```python\n{code}```" for file, code in files]
    return "\n\n".join([*parts, *codes])


def _classes(names: Sequence[str]) -> str:
    if len(names) > _MOST_CLASSES_LISTED or names == [str(label) for label in range(len(names))]:
        return f"`class_names.json` lists the names of the {len(names)} classes in the order of their labels."
    return markdown_table(("label", "class"), [(str(label), name) for label, name in enumerate(names)])


def _architecture(config: ExperimentConfig, generator: Generator, bases: str | None) -> str:
    rows = [
        ("images", _images(generator)),
        ("classes", f"{generator.num_classes:,}"),
        ("latent dimensions", str(generator.z_dim)),
        ("base channels", str(generator.base_channels)),
        ("parameters of the generator", f"{generator.count_params():,}"),
    ]
    for module in config.model.generator.context:
        fields = dataclasses.asdict(module).items()
        settings = {name: value for name, value in fields if name != "module" and value is not None}
        rows.append((f"context: {module.module}", ", ".join(f"{name} {value}" for name, value in settings.items())))
    if not config.model.generator.context:
        rows.append(("context", "none"))
    if bases is not None:
        rows.append(("initial bases", bases))
    return markdown_table(("", "generator"), rows)


def _training(run: "Run") -> str:
    config, train = run.config, run.config.train
    average = f"moving average, decay {train.ema_decay:g}" if run.weights == "ema" else "raw"
    rows = [
        ("data set", f"{config.data.dataset}, split {config.data.train_split}"),
        ("step", f"{run.step:,} of {train.steps:,}"),
        ("weights", average),
        ("batch", f"{train.global_batch:,}"),
        ("discriminator and generator updates per step", f"{train.discriminator_updates}, {train.generator_updates}"),
        ("learning rates", f"D {train.discriminator_learning_rate:g}, G {train.generator_learning_rate:g}"),
        ("Adam", f"beta1 {train.adam_beta1:g}, beta2 {train.adam_beta2:g}, epsilon {train.adam_epsilon:g}"),
        ("precision", train.precision),
        ("labels of fakes", train.label_distribution),
        ("augmentation", _changed(config.augmentation)),
        ("regularisation", _changed(config.regularization)),
        ("seed", str(train.seed)),
    ]
    initialization = RunDirectory(run.path).read_initialization()
    if initialization is not None:
        source = os.path.basename(initialization.checkpoint)
        rows.append(("initial weights", f"{source} of another run. {initialization.describe_classes()}"))
    return markdown_table(("", "training"), rows)


def _changed(settings: Any) -> str:
    """Returns the fields that differ from their defaults, or "none"."""
    default = type(settings)()
    changed = [
        f"{field.name} {getattr(settings, field.name)}"
        for field in dataclasses.fields(settings)
        if getattr(settings, field.name) != getattr(default, field.name)
    ]
    return ", ".join(changed) or "none"


def _scores(run: "Run", evaluations: Sequence[dict[str, Any]], bases: str | None) -> str:
    fixed_command = f"`hamgan evaluate --run {_name(run)} --checkpoint {run.step} --override evaluation.bases=fixed`"
    if not evaluations:
        return (
            "No scores have been computed for these weights. "
            f"`hamgan evaluate --run {_name(run)} --checkpoint {run.step}` computes them"
            + ("." if bases is None else f", and {fixed_command} those of the model with fixed bases.")
        )
    columns = [column for column in COLUMNS if any(has_score(result, column[1]) for result in evaluations)]
    rows = [
        [_bases_of(result), result["card_id"], *(shown(result, name, form) for _, name, form in columns)]
        for result in evaluations
    ]
    real = real_of(evaluations[-1])
    rows.append(["real images", "", *(shown(real, name, form) for _, name, form in columns)])
    header = ["bases", "protocol card", *(title for title, _, _ in columns)]
    images = evaluations[0]["card"]["images"]
    split = run.config.data.validation_split
    parts = [
        markdown_table(header, rows),
        f"FID compares {images['fake']:,} generated images with {images['validation']:,} real ones of split {split}; "
        "that of the real images compares training images with the latter.",
    ]
    if bases is not None:
        parts.append(_comparison(evaluations, fixed_command))
    extras = [
        (_bases_of(result), result["card_id"], name, f"{value:.2f}")
        for result in evaluations
        for name, value in extra_scores(result)
    ]
    if extras:
        parts.append(markdown_table(("bases", "protocol card", "score", "value"), extras))
    return "\n\n".join([*parts, _protocol_cards(evaluations)])


def _comparison(evaluations: Sequence[dict[str, Any]], fixed_command: str) -> str:
    """Says what fixed bases change in the FID, or that it is unknown."""
    pairs = []
    for result in evaluations:
        if _bases_of(result) == "fixed" and has_score(result, "fid"):
            random_card = card_id({name: value for name, value in result["card"].items() if name != "bases"})
            pairs += [
                f"FID with fixed bases: {result['scores']['fid']:.2f}, with random bases: {other['scores']['fid']:.2f} "
                f"(protocol cards {result['card_id']} and {random_card}, equal but for the bases)."
                for other in evaluations
                if other["card_id"] == random_card and has_score(other, "fid")
            ]
    if pairs:
        return " ".join(pairs)
    known = {_bases_of(result) for result in evaluations if has_score(result, "fid")}
    if "fixed" not in known:
        return f"The FID with fixed bases has not been computed; {fixed_command} computes it."
    return "The FID with random bases has not been computed with the same protocol."


def _bases_of(result: Mapping[str, Any]) -> str:
    """Returns the bases of a result; cards name only fixed ones."""
    return result["card"].get("bases", "random")


def _protocol_cards(evaluations: Sequence[dict[str, Any]]) -> str:
    """One full protocol card, and the differences of the others from it."""
    groups = by_card(list(evaluations))
    main = next(iter(groups))
    entries = _public_card(groups[main][0]["card"])
    parts = [f"Protocol card {main}:", markdown_table(("entry", "value"), list(entries.items()))]
    for name, group in groups.items():
        others = _public_card(group[0]["card"])
        differences = [(entry, value) for entry, value in others.items() if entries.get(entry) != value]
        if differences:
            parts += [f"Protocol card {name} differs in:", markdown_table(("entry", "value"), differences)]
    return "\n\n".join(parts)


def _public_card(card: Mapping[str, Any]) -> dict[str, str]:
    """Returns the entries of a card, without folders of the machine that made it."""
    entries = flat_card(card)
    handle = entries.get("classifier.handle", "")
    if handle and "://" not in handle:
        name = os.path.basename(os.path.normpath(handle))
        entries = {key: value.replace(handle, name) for key, value in entries.items()}
    return entries


def _name(run: "Run") -> str:
    """Returns the name of the run's folder, without its path."""
    return os.path.basename(os.path.normpath(run.path))


def _license(license_id: str) -> str:
    stated = (
        "The license of these weights is not stated."
        if license_id == "unknown"
        else f"License of these weights: {license_id}."
    )
    return f"{stated} HamGAN's code is licensed under Apache 2.0.\n\n{_CITATION}"
