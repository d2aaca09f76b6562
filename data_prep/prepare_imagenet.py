"""From somebody's ImageNet to TFDS records: find, list, check, write, verify, publish."""

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
from data_prep.destination import TFDS_RECORD, check_free, check_free_space, clean, incomplete
from data_prep.forms import Form
from data_prep.ilsvrc import NUM_CLASSES, label_of_synset
from data_prep.local_workers import LocalWorkers, advance
from data_prep.preparation import Account, Selection, SplitAccount, completeness_problems, problem_lines
from data_prep.problems import KINDS, Problem
from data_prep.shards import (
    RESULTS_FOLDER,
    Shard,
    Target,
    fingerprint,
    finished,
    plan_shards,
    write_shard,
)
from data_prep.sources import Listing, Place, find_split, list_place, merge, places
from hamgan.data.preparation_record import RECORD_NAME, describe_subset, read_preparation_record
from hamgan.errors import UserError, reason_of

_logger = logging.getLogger(__name__)

PAGE_NAME = "preparation.html"
_LISTED_TOGETHER = 16


@dataclasses.dataclass(frozen=True)
class Request:
    """What to prepare.

    Args:
        sources: tar or folder of each split; one split may be missing.
        data_dir: where TFDS data sets are kept, local or in a bucket.
        forms: what to write.
        selection: which part of ImageNet.
        check: how images are checked, one of ``data_prep.photograph.CHECKS``.
        strict: whether to refuse anything odd instead of repairing or skipping it.
        workers: how many processes; None to choose.
        beam_options: Apache Beam's pipeline options, or None to work without it.
    """

    sources: dict[str, str]
    data_dir: str
    forms: list[Form]
    selection: Selection
    check: str = "structure"
    strict: bool = False
    workers: int | None = None
    beam_options: list[str] | None = None


@dataclasses.dataclass(frozen=True)
class _Split:
    found: np.ndarray
    shards: list[Shard]


def prepare_imagenet(request: Request) -> list[str]:
    """Writes ImageNet as TFDS data sets that plain ``tfds.load`` reads.

    Records are written into ``VERSION.incomplete`` beside the data set's final folder, which appears when all is there.
    Called again after it was stopped, it writes the shards that are missing; the finished files have the same
    bytes.

    Returns:
        The data sets' folders, by form.

    Raises:
        UserError: there is something that the user can put right; what was written so far is kept.
    """
    with _told_to_the_user():
        return _prepare(request)


@contextlib.contextmanager
def _told_to_the_user() -> Iterator[None]:
    """What disks and buckets raise, as one line."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        reason = reason_of(error)
        raise UserError(
            f"{reason}; put that right and give the same command again: it resumes from what is written"
        ) from error


def find_sources(source: str | None, train: str | None, validation: str | None) -> dict[str, str]:
    """Returns the tar or folder of each split.

    Args:
        source: a folder with those splits that are not given, or None.
        train, validation: tars or folders, or None.

    Raises:
        UserError: ``source`` lacks a split, or cannot be reached, or both splits are one tar or folder.
    """
    paths = {"train": train, "validation": validation}
    with _told_to_the_user():
        if source is not None:
            paths = {split: path or find_split(source, split) for split, path in paths.items()}
    if paths["train"] is not None and paths["validation"] is not None:
        one, other = (storage.canonical(path) for path in paths.values() if path is not None)
        if one == other:
            raise UserError(
                f"expected a tar or folder of its own for each split, found {one} for both --train and --validation"
            )
    return {split: path for split, path in paths.items() if path is not None}


def _prepare(request: Request) -> list[str]:
    final = {form: os.fspath(form.builder(request.data_dir).data_path) for form in request.forms}
    for folder in final.values():
        if not storage.exists(storage.join(folder, TFDS_RECORD)):
            check_free(folder)  # before listing, which takes minutes
    with LocalWorkers(request.workers) as workers, contextlib.ExitStack() as locks:
        splits, problems = {}, []
        for split in request.sources:
            splits[split], found_problems = _plan(split, request, workers)
            problems.extend(found_problems)
        pending = [form for form in request.forms if not _is_there(final[form], form, splits, request)]
        if not pending:
            return list(final.values())
        targets = [Target(form, incomplete(final[form])) for form in pending]
        for target in targets:
            storage.make_folder(storage.join(target.folder, RESULTS_FOLDER))
            locks.enter_context(_locked(target.folder))
        shards = [shard for split in splits.values() for shard in split.shards]
        clean(targets, shards)
        if request.strict:  # before hours of work
            account = _account(targets[0], splits, problems, request)
            _write_account(targets[0].folder, account)
            _check_strictly(targets[0], account)
        check_free_space(targets, shards)
        _write(shards, targets, workers, request)
        _check_complete(targets, shards)
        accounts = {target: _account(target, splits, problems, request) for target in targets}
        for target, account in accounts.items():
            _write_account(target.folder, account)
            _check_any_was_prepared(target, account)
        for line in problem_lines(accounts[targets[0]].problems):
            _logger.warning("%s", line)
        if request.strict:
            _check_strictly(targets[0], accounts[targets[0]])
        for target, account in accounts.items():
            _publish(target, final[target.form], account, request.data_dir)
        return list(final.values())


def _plan(split: str, request: Request, workers: LocalWorkers) -> tuple[_Split, list[Problem]]:
    source, selection = request.sources[split], request.selection
    to_list, problems = places(source, split)
    wanted = selection.synsets
    if wanted is not None:
        to_list = [place for place in to_list if place.synset is None or place.synset in wanted]
    parts = [to_list[start : start + _LISTED_TOGETHER] for start in range(0, len(to_list), _LISTED_TOGETHER)]
    listings = workers.run(
        _list, [(part, split) for part in parts], title=f"Listing {split}", unit="part", total=len(to_list)
    )
    listing = merge(itertools.chain.from_iterable(listings))
    if wanted is not None:
        labels = [label_of_synset()[synset] for synset in wanted]
        listing = listing._replace(images=listing.images[np.isin(listing.images["label"], labels)])
    found = np.bincount(listing.images["label"], minlength=NUM_CLASSES)
    shards, duplicates = plan_shards(split, listing, per_class=selection.per_class, check=request.check)
    if not shards:
        raise UserError(
            f"no {split} image of the classes asked for in {source}: expected the tar or folder as ImageNet or PyTorch "
            f"have it, found {_what_was_found(listing, problems)}"
        )
    problems += listing.problems + completeness_problems(split, found, selection) + duplicates
    return _Split(found, shards), problems


def _list(part: list[Place], split: str) -> list[Listing]:
    """Lists several tars or folders side by side: nearly all of the time goes into waiting for the disk."""

    def list_one(place: Place) -> Listing:
        listing = list_place(place, split)
        advance(1)
        return listing

    with concurrent.futures.ThreadPoolExecutor(len(part)) as threads:
        return list(threads.map(list_one, part))


def _what_was_found(listing: Listing, problems: list[Problem]) -> str:
    every = [*problems, *listing.problems]
    return f"such as {every[0].where}" if every else "nothing"


def _is_there(folder: str, form: Form, splits: dict[str, _Split], request: Request) -> bool:
    """Whether the data set was prepared before, from the same images."""
    if not storage.exists(storage.join(folder, TFDS_RECORD)):
        return False
    record = read_preparation_record(folder)
    if record is None:
        _logger.info("%s: is there already, not prepared by hamgan; left as it is", folder)
        return True
    if record["plan"] != _plan_digest(form, splits):
        subset = describe_subset(record)
        raise UserError(
            f"{folder} holds ImageNet{f' ({subset})' if subset else ''} prepared from other files, with another "
            "selection or another --check; move it away, or pass another --data_dir"
        )
    # A kind that only another version knows counts as serious.
    serious = sum(problem["kind"] not in KINDS or KINDS[problem["kind"]].serious for problem in record["problems"])
    if request.strict and serious:
        raise UserError(
            f"{folder} was prepared without --strict, and {serious:,} problems were found then: see {PAGE_NAME} "
            "there; put them right and move the folder away, or leave --strict out"
        )
    _remove_results(folder)
    _logger.info("%s: is there already", folder)
    return True


def _plan_digest(form: Form, splits: dict[str, _Split]) -> str:
    digest = hashlib.sha256()
    for split in splits.values():
        for shard in split.shards:
            digest.update(fingerprint(shard, form).encode())
    return digest.hexdigest()


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Two preparations must not write one folder. (A bucket has no locks; its files appear whole, and are the same.)"""
    if storage.is_remote(folder):
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another 'hamgan prepare' is writing {folder}; wait for it, or stop it") from error
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
        missing = [shard for shard in shards if finished(shard, target) is None]
        if missing:
            raise UserError(
                f"{len(missing):,} record files, such as {target.records_path(missing[0])}, are not complete; give the "
                "same command again"
            )


def _account(target: Target, splits: dict[str, _Split], problems: list[Problem], request: Request) -> Account:
    accounts = {}
    for name, split in splits.items():
        results = [result for result in (finished(shard, target) for shard in split.shards) if result is not None]
        problems = problems + [problem for result in results for problem in result.problems]
        accounts[name] = SplitAccount(
            source=request.sources[name],
            found=split.found,
            shard_lengths=[result.num_examples for result in results],
            num_bytes=sum(result.num_bytes for result in results),
        )
    plan = _plan_digest(target.form, splits)
    return Account(target.form.name, plan, request.selection, request.check, accounts, sorted(problems))


def _write_account(folder: str, account: Account) -> None:
    storage.write_text(storage.join(folder, RECORD_NAME), account.to_json())
    storage.write_text(storage.join(folder, PAGE_NAME), account.to_html())


def _check_any_was_prepared(target: Target, account: Account) -> None:
    for name, split in account.splits.items():
        if split.prepared == 0:
            raise UserError(
                f"none of the {split.found.sum():,} {name} images in {split.source} can be used: nothing is prepared; "
                f"the reasons are in {storage.join(target.folder, PAGE_NAME)}"
            )


def _check_strictly(target: Target, account: Account) -> None:
    if account.serious:
        raise UserError(
            f"--strict is given and problems were found ({len(account.serious):,}): nothing is prepared; they are "
            f"listed in {storage.join(target.folder, PAGE_NAME)}; put them right, or leave --strict out "
            "to have them repaired or skipped"
        )


def _publish(target: Target, folder: str, account: Account, data_dir: str) -> None:
    """Writes TFDS's metadata and gives the data set its name."""
    builder = target.form.builder(data_dir)
    infos = [
        tfds.core.SplitInfo(name=name, shard_lengths=split.shard_lengths, num_bytes=split.num_bytes)
        for name, split in account.splits.items()
    ]
    builder.info.set_file_format(tfds.core.FileFormat.TFRECORD)
    builder.info.set_splits(tfds.core.SplitDict(infos))
    builder.info.write_to_directory(target.folder)
    storage.move_folder(target.folder, folder, last=TFDS_RECORD)
    _remove_results(folder)
    _logger.info("%s", folder)
    for line in account.to_lines():
        _logger.info("  %s", line)
    _logger.info("  report      %s", storage.join(folder, PAGE_NAME))


def _remove_results(folder: str) -> None:
    path = storage.join(folder, RESULTS_FOLDER)
    if storage.exists(path):
        tf.io.gfile.rmtree(path)
