"""Prepares a collection as TFDS records: finds, checks and writes the images, and publishes the data set."""

import contextlib
import dataclasses
import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from data_prep import storage
from data_prep.beam_pipeline import write_with_beam
from data_prep.collection import Collection, Contents
from data_prep.destination import (
    TFDS_INFO,
    check_destination,
    check_free_space,
    incomplete_folder,
    remove_leftovers,
)
from data_prep.forms import Form
from data_prep.local_workers import LocalWorkers, advance
from data_prep.problems import KINDS, Problem
from data_prep.report import Report, SplitReport, problem_lines
from data_prep.shards import (
    RESULTS_FOLDER,
    Shard,
    Target,
    fingerprint,
    finished_result,
    plan_shards,
    write_shard,
)
from hamgan.counted import counted
from hamgan.data.metadata import PREPARATION_RECORD, describe_subset, read_preparation_record
from hamgan.errors import UserError
from hamgan.files import write_atomically

_logger = logging.getLogger(__name__)

REPORT_PAGE = "preparation.html"


@dataclasses.dataclass(frozen=True)
class Request:
    """What to prepare, and how.

    Args:
        collection: images to prepare.
        data_dir: folder of TFDS data sets, local or ``gs://``.
        forms: forms to write.
        strict: whether to reject serious problems instead of repairing or skipping the images.
        workers: number of processes, or None for the default.
        beam_options: pipeline options of Apache Beam, or None to write without it.
    """

    collection: Collection
    data_dir: str
    forms: list[Form]
    strict: bool = False
    workers: int | None = None
    beam_options: list[str] | None = None


@dataclasses.dataclass(frozen=True)
class _Plan:
    """Contents of the collection, the shards of each split, and the problems found so far."""

    contents: Contents
    shards: dict[str, list[Shard]]
    problems: list[Problem]

    @property
    def all_shards(self) -> list[Shard]:
        return [shard for shards in self.shards.values() for shard in shards]


def prepare(request: Request) -> list[str]:
    """Writes a collection as TFDS data sets that ``tfds.load`` reads without this package.

    Records are written to ``VERSION.incomplete``, which is renamed to the data set's final folder once it is complete.
    An interrupted preparation can be resumed: only unfinished shards are written, and the files have the same bytes.

    Args:
        request: what to prepare, and how.

    Returns:
        The folder of the data set in each form, in the order of ``request.forms``.

    Raises:
        UserError: the source, the destination or an option is invalid; finished shards are kept.
    """
    with storage.errors_as_user_errors():
        return _prepare(request)


def _prepare(request: Request) -> list[str]:
    final = {form: form.folder(request.data_dir) for form in request.forms}
    for folder in final.values():
        if not storage.exists(storage.join(folder, TFDS_INFO)):
            check_destination(folder)  # before listing, which takes minutes
    with LocalWorkers(request.workers) as workers, contextlib.ExitStack() as locks:
        plan = _make_plan(request.collection, workers)
        pending = [form for form in request.forms if not _is_prepared(final[form], form, plan, request)]
        if not pending:
            return list(final.values())
        targets = [Target(form, incomplete_folder(final[form])) for form in pending]
        for target in targets:
            storage.make_folder(storage.join(target.folder, RESULTS_FOLDER))
            locks.enter_context(_locked(target.folder))
        shards = plan.all_shards
        remove_leftovers(targets, shards)
        if request.strict:  # before hours of writing
            report = _make_report(targets[0], plan, request)
            _write_report(targets[0].folder, report)
            _check_strict(targets[0], report)
        check_free_space(targets, shards)
        _write(shards, targets, workers, request)
        _check_complete(targets, shards)
        reports = {target: _make_report(target, plan, request) for target in targets}
        for target, report in reports.items():
            _write_report(target.folder, report)
            _check_not_empty(target, report)
        for line in dict.fromkeys(line for report in reports.values() for line in problem_lines(report.problems)):
            _logger.warning("%s", line)
        if request.strict:
            _check_strict(targets[0], reports[targets[0]])
        for target, report in reports.items():
            _publish(target, final[target.form], report, request.data_dir)
        return list(final.values())


def _make_plan(collection: Collection, workers: LocalWorkers) -> _Plan:
    contents = collection.find(workers)
    shards, problems = {}, list(contents.problems)
    for split, listing in contents.splits.items():
        shards[split], duplicates = plan_shards(split, listing, contents.conversion, per_class=collection.per_class)
        problems += duplicates
    return _Plan(contents, shards, problems)


def _is_prepared(folder: str, form: Form, plan: _Plan, request: Request) -> bool:
    """Whether the data set is already prepared; raises UserError if it was prepared from other images or options."""
    if not storage.exists(storage.join(folder, TFDS_INFO)):
        return False
    record = read_preparation_record(folder)
    if record is None:
        _logger.info("%s exists already and was not prepared by hamgan; left unchanged", folder)
        return True
    if record["plan"] != _plan_digest(form, plan):
        subset, collection = describe_subset(record), request.collection
        raise UserError(
            f"{folder} holds {collection.title}{f' ({subset})' if subset else ''} prepared from other files, or with "
            f"another {collection.options}; move it away or pass another --data_dir"
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


def _plan_digest(form: Form, plan: _Plan) -> str:
    digest = hashlib.sha256()
    for shard in plan.all_shards:
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
                f"{counted(len(missing), 'record file is', 'record files are')} incomplete, such as "
                f"{target.records_path(missing[0])}; run the same command again"
            )


def _make_report(target: Target, plan: _Plan, request: Request) -> Report:
    """Returns the report of one form, with the results of the shards that are finished."""
    collection, contents = request.collection, plan.contents
    num_classes = len(contents.class_names)
    reports, records, per_class = {}, {}, {}
    problems = plan.problems + collection.form_problems(target.form, contents)
    for name, shards in plan.shards.items():
        finished = [(shard, finished_result(shard, target)) for shard in shards]
        results = [result for _, result in finished if result is not None]
        problems = problems + [problem for result in results for problem in result.problems]
        reports[name] = SplitReport(
            source=contents.sources[name],
            expected=collection.expected_images(name),
            num_found=len(contents.splits[name].images),
            found=collection.images_per_class(contents.splits[name].images, num_classes),
            shard_lengths=[result.num_examples for result in results],
            num_bytes=sum(result.num_bytes for result in results),
        )
        records[name] = [target.records_path(shard) for shard, result in finished if result is not None]
        per_class[name] = np.array(
            [sum(result.per_class.get(label, 0) for result in results) for label in range(num_classes)]
        )
    return Report(
        title=collection.title,
        form=target.form.name,
        plan=_plan_digest(target.form, plan),
        class_names=contents.class_names,
        settings=collection.report_settings(),
        remarks=collection.remarks(),
        splits=reports,
        problems=sorted(problems),
        sections=collection.report_sections(contents, records, per_class),
    )


def _write_report(folder: str, report: Report) -> None:
    for name, text in ((PREPARATION_RECORD, report.to_json()), (REPORT_PAGE, report.to_html())):
        # File names that are not valid UTF-8 contain surrogates.
        write_atomically(storage.join(folder, name), text.encode(errors="backslashreplace"))


def _check_not_empty(target: Target, report: Report) -> None:
    for name, split in report.splits.items():
        if split.prepared == 0:
            raise UserError(
                f"expected {name} images that can be used in {split.source}, found "
                f"{counted(split.num_found, 'image')} that cannot; nothing was prepared; the reasons are "
                f"listed in {storage.join(target.folder, REPORT_PAGE)}"
            )


def _check_strict(target: Target, report: Report) -> None:
    if report.serious:
        raise UserError(
            f"--strict: problems were found ({len(report.serious):,}), so nothing was prepared; they are listed in "
            f"{storage.join(target.folder, REPORT_PAGE)}; fix them, or omit --strict to repair or skip the images"
        )


def _publish(target: Target, folder: str, report: Report, data_dir: str) -> None:
    """Writes TFDS's metadata and moves the data set to its final folder."""
    info = target.form.info(data_dir, report.class_names)
    infos = [
        tfds.core.SplitInfo(name=name, shard_lengths=split.shard_lengths, num_bytes=split.num_bytes)
        for name, split in report.splits.items()
    ]
    info.set_file_format(tfds.core.FileFormat.TFRECORD)
    info.set_splits(tfds.core.SplitDict(infos))
    info.write_to_directory(target.folder)
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
