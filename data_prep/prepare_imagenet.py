"""Prepares ImageNet as TFDS records: finds, lists, checks and writes the images, and publishes the data set."""

import concurrent.futures
import contextlib
import dataclasses
import fcntl
import hashlib
import itertools
import logging
import os
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from data_prep import storage
from data_prep.beam_pipeline import write_with_beam
from data_prep.destination import (
    TFDS_INFO,
    check_destination,
    check_free_space,
    incomplete_folder,
    remove_leftovers,
)
from data_prep.forms import Form
from data_prep.ilsvrc import NUM_CLASSES, label_of_synset
from data_prep.local_workers import LocalWorkers, advance
from data_prep.preparation import Request
from data_prep.problems import KINDS, Problem
from data_prep.report import Report, SplitReport, completeness_problems, problem_lines
from data_prep.shards import (
    RESULTS_FOLDER,
    Shard,
    Target,
    fingerprint,
    finished_result,
    plan_shards,
    write_shard,
)
from data_prep.sources import Container, Listing, find_containers, find_split, list_container, merge_listings
from hamgan.data.metadata import PREPARATION_RECORD, describe_subset, read_preparation_record
from hamgan.errors import UserError, reason_of
from hamgan.files import write_atomically

_logger = logging.getLogger(__name__)

REPORT_PAGE = "preparation.html"
_CONTAINERS_PER_TASK = 16


@dataclasses.dataclass(frozen=True)
class _SplitPlan:
    """Number of images found for each label, and the shards to write."""

    found: np.ndarray
    shards: list[Shard]


def prepare_imagenet(request: Request) -> list[str]:
    """Writes ImageNet as TFDS data sets that ``tfds.load`` reads without this package.

    Records are written to ``VERSION.incomplete``, which is renamed to the data set's final folder once it is complete.
    An interrupted preparation can be resumed: only unfinished shards are written, and the files have the same bytes.

    Args:
        request: what to prepare, and how.

    Returns:
        The folder of the data set in each form, in the order of ``request.forms``.

    Raises:
        UserError: the source, the destination or an option is invalid; finished shards are kept.
    """
    with _io_errors_as_user_errors():
        return _prepare(request)


@contextlib.contextmanager
def _io_errors_as_user_errors() -> Iterator[None]:
    """Converts errors of disks and buckets to a UserError."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        reason = reason_of(error)
        raise UserError(f"{reason}; fix this and run the same command again to resume") from error


def find_sources(source: str | None, train: str | None, validation: str | None) -> dict[str, str]:
    """Returns the tar or folder of each split.

    Args:
        source: folder that holds the splits that are not passed explicitly, or None.
        train: tar or folder of the training images, or None.
        validation: tar or folder of the validation images, or None.

    Raises:
        UserError: ``source`` cannot be read or does not hold a split, or both splits have the same tar or folder.
    """
    paths = {"train": train, "validation": validation}
    with _io_errors_as_user_errors():
        if source is not None:
            paths = {split: path or find_split(source, split) for split, path in paths.items()}
    if paths["train"] is not None and paths["validation"] is not None:
        one, other = (storage.canonical(path) for path in paths.values() if path is not None)
        if one == other:
            raise UserError(
                f"expected different tars or folders for the two splits, found {one} for both --train and --validation"
            )
    return {split: path for split, path in paths.items() if path is not None}


def _prepare(request: Request) -> list[str]:
    final = {form: os.fspath(form.builder(request.data_dir).data_path) for form in request.forms}
    for folder in final.values():
        if not storage.exists(storage.join(folder, TFDS_INFO)):
            check_destination(folder)  # before listing, which takes minutes
    with LocalWorkers(request.workers) as workers, contextlib.ExitStack() as locks:
        splits, problems = {}, []
        for split in request.sources:
            splits[split], split_problems = _plan(split, request, workers)
            problems.extend(split_problems)
        pending = [form for form in request.forms if not _is_prepared(final[form], form, splits, request)]
        if not pending:
            return list(final.values())
        targets = [Target(form, incomplete_folder(final[form])) for form in pending]
        for target in targets:
            storage.make_folder(storage.join(target.folder, RESULTS_FOLDER))
            locks.enter_context(_locked(target.folder))
        shards = [shard for split in splits.values() for shard in split.shards]
        remove_leftovers(targets, shards)
        if request.strict:  # before hours of writing
            report = _make_report(targets[0], splits, problems, request)
            _write_report(targets[0].folder, report)
            _check_strict(targets[0], report)
        check_free_space(targets, shards)
        _write(shards, targets, workers, request)
        _check_complete(targets, shards)
        reports = {target: _make_report(target, splits, problems, request) for target in targets}
        for target, report in reports.items():
            _write_report(target.folder, report)
            _check_not_empty(target, report)
        for line in problem_lines(reports[targets[0]].problems):
            _logger.warning("%s", line)
        if request.strict:
            _check_strict(targets[0], reports[targets[0]])
        for target, report in reports.items():
            _publish(target, final[target.form], report, request.data_dir)
        return list(final.values())


def _plan(split: str, request: Request, workers: LocalWorkers) -> tuple[_SplitPlan, list[Problem]]:
    source, selection = request.sources[split], request.selection
    containers, problems = find_containers(source, split)
    wanted = selection.synsets
    if wanted is not None:
        containers = [container for container in containers if container.synset is None or container.synset in wanted]
    tasks = [
        (containers[start : start + _CONTAINERS_PER_TASK], split)
        for start in range(0, len(containers), _CONTAINERS_PER_TASK)
    ]
    listings = workers.run(_list_containers, tasks, title=f"Listing {split}", unit="part", total=len(containers))
    listing = merge_listings(itertools.chain.from_iterable(listings))
    if wanted is not None:
        labels = [label_of_synset()[synset] for synset in wanted]
        listing = listing._replace(images=listing.images[np.isin(listing.images["label"], labels)])
    found = np.bincount(listing.images["label"], minlength=NUM_CLASSES)
    shards, duplicates = plan_shards(split, listing, per_class=selection.per_class, check=request.check)
    if not shards:
        raise UserError(
            f"no {split} images of the requested classes in {source}: expected an original tar, or a folder in the "
            f"layout of ImageNet or PyTorch; found {_example_found(listing, problems)}"
        )
    problems += listing.problems + completeness_problems(split, found, selection) + duplicates
    return _SplitPlan(found, shards), problems


def _list_containers(containers: list[Container], split: str) -> list[Listing]:
    """Lists several tars or folders in parallel threads, which mostly wait for the disk."""

    def list_one(container: Container) -> Listing:
        listing = list_container(container, split)
        advance(1)
        return listing

    with concurrent.futures.ThreadPoolExecutor(len(containers)) as threads:
        return list(threads.map(list_one, containers))


def _example_found(listing: Listing, problems: list[Problem]) -> str:
    all_problems = [*problems, *listing.problems]
    return f"{all_problems[0].where}, for example" if all_problems else "nothing"


def _is_prepared(folder: str, form: Form, splits: dict[str, _SplitPlan], request: Request) -> bool:
    """Whether the data set is already prepared; raises UserError if it was prepared from other images or options."""
    if not storage.exists(storage.join(folder, TFDS_INFO)):
        return False
    record = read_preparation_record(folder)
    if record is None:
        _logger.info("%s exists already and was not prepared by hamgan; left unchanged", folder)
        return True
    if record["plan"] != _plan_digest(form, splits):
        subset = describe_subset(record)
        raise UserError(
            f"{folder} holds ImageNet{f' ({subset})' if subset else ''} prepared from other files, or with another "
            "selection or another --check; move it away or pass another --data_dir"
        )
    # A kind that this version does not know counts as serious.
    serious = sum(problem["kind"] not in KINDS or KINDS[problem["kind"]].serious for problem in record["problems"])
    if request.strict and serious:
        raise UserError(
            f"{folder} was prepared without --strict and has problems ({serious:,}), listed in its {REPORT_PAGE}; fix "
            "them and move the folder away, or omit --strict"
        )
    _remove_results(folder)
    _logger.info("%s exists already", folder)
    return True


def _plan_digest(form: Form, splits: dict[str, _SplitPlan]) -> str:
    digest = hashlib.sha256()
    for split in splits.values():
        for shard in split.shards:
            digest.update(fingerprint(shard, form).encode())
    return digest.hexdigest()


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Keeps other preparations from writing to a local folder.

    A bucket has no locks, and needs none: objects are replaced atomically, by others with the same bytes.
    """
    if storage.is_remote(folder):
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another 'hamgan prepare' is writing to {folder}; wait for it or stop it") from error
        yield
    finally:
        os.close(descriptor)


def _write(shards: list[Shard], targets: list[Target], workers: LocalWorkers, request: Request) -> None:
    if request.beam_options is not None:
        write_with_beam(shards, targets, request.beam_options)
        return
    work = [(shard, targets, advance) for shard in shards]
    total = sum(len(shard.images) for shard in shards)
    workers.run(write_shard, work, title="Writing", unit="image", total=total)


def _check_complete(targets: list[Target], shards: list[Shard]) -> None:
    for target in targets:
        missing = [shard for shard in shards if finished_result(shard, target) is None]
        if missing:
            raise UserError(
                f"{len(missing):,} record files are incomplete, such as {target.records_path(missing[0])}; run the "
                "same command again"
            )


def _make_report(target: Target, splits: dict[str, _SplitPlan], problems: list[Problem], request: Request) -> Report:
    """Returns the report of one form, with the results of the shards that are finished."""
    reports = {}
    for name, split in splits.items():
        finished = (finished_result(shard, target) for shard in split.shards)
        results = [result for result in finished if result is not None]
        problems = problems + [problem for result in results for problem in result.problems]
        reports[name] = SplitReport(
            source=request.sources[name],
            found=split.found,
            shard_lengths=[result.num_examples for result in results],
            num_bytes=sum(result.num_bytes for result in results),
        )
    plan = _plan_digest(target.form, splits)
    return Report(target.form.name, plan, request.selection, request.check, reports, sorted(problems))


def _write_report(folder: str, report: Report) -> None:
    for name, text in ((PREPARATION_RECORD, report.to_json()), (REPORT_PAGE, report.to_html())):
        # File names that are not valid UTF-8 contain surrogates.
        write_atomically(storage.join(folder, name), text.encode(errors="backslashreplace"))


def _check_not_empty(target: Target, report: Report) -> None:
    for name, split in report.splits.items():
        if split.prepared == 0:
            raise UserError(
                f"none of the {split.found.sum():,} {name} images in {split.source} can be used, so nothing was "
                f"prepared; the reasons are listed in {storage.join(target.folder, REPORT_PAGE)}"
            )


def _check_strict(target: Target, report: Report) -> None:
    if report.serious:
        raise UserError(
            f"--strict: problems were found ({len(report.serious):,}), so nothing was prepared; they are listed in "
            f"{storage.join(target.folder, REPORT_PAGE)}; fix them, or omit --strict to repair or skip the images"
        )


def _publish(target: Target, folder: str, report: Report, data_dir: str) -> None:
    """Writes TFDS's metadata and moves the data set to its final folder."""
    builder = target.form.builder(data_dir)
    infos = [
        tfds.core.SplitInfo(name=name, shard_lengths=split.shard_lengths, num_bytes=split.num_bytes)
        for name, split in report.splits.items()
    ]
    builder.info.set_file_format(tfds.core.FileFormat.TFRECORD)
    builder.info.set_splits(tfds.core.SplitDict(infos))
    builder.info.write_to_directory(target.folder)
    storage.move_folder(target.folder, folder, last=TFDS_INFO)
    _remove_results(folder)
    _logger.info("%s", folder)
    for line in report.to_lines():
        _logger.info("  %s", line)
    _logger.info("  report      %s", storage.join(folder, REPORT_PAGE))


def _remove_results(folder: str) -> None:
    path = storage.join(folder, RESULTS_FOLDER)
    if storage.exists(path):
        tf.io.gfile.rmtree(path)
