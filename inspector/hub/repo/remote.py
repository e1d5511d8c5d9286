"""A repo on the Hub, read in two rounds of parallel requests: its config and the headers of its weights, of one commit.

Round one asks at the same time for the config, for `model.safetensors` (its first bytes) and for all shard headers in
one answer, which the Hub has for `main`. Where it has not (another revision, a mirror), the index is read instead, and
round two reads all shards' headers. A repo without safetensors, or one of whose GGUF models or files was selected, is
read through the list of its files.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from inspector.errors import AccessError, FileMissing, HubError, RevisionNotFound, UsageError
from inspector.hub.checkpoint import NO_WEIGHTS, Checkpoint, Design, File, Weights
from inspector.hub.client.requests import Meter
from inspector.hub.client.workers import Task
from inspector.hub.formats.documents import (
    CONFIG_FILE,
    INDEX_FILE,
    MODULES_FILE,
    NO_CONFIG,
    PARAMS_FILE,
    QUANT_CONFIG_FILE,
    WEIGHTS_FILE,
    Index,
    has_own_weights,
    lacks_recipe,
    with_recipe,
)
from inspector.hub.formats.safetensors import PREFIX_BYTES, Header, single
from inspector.hub.formats.weights import knows_more, looks_packed, set_aside, sharded
from inspector.hub.repo.files import Found, Headers, Listing, RepoFiles
from inspector.hub.repo_id import DEFAULT_REVISION

DENSE_CLASSES = frozenset(
    {
        "DistilBertModel",
        "Gemma3TextModel",
        "ModernBertModel",
        "MPNetModel",
        "MT5EncoderModel",
        "RobertaModel",
        "T5EncoderModel",
        "XLMRobertaModel",
    }
)
"""Classes of which well-known sentence-transformers models have Dense modules (distiluse, EmbeddingGemma, GTR, ...)."""
BERT_VOCABULARIES = (30522, 28996, 21128, 105879, 119547)
"""Of Google's BERT: uncased, cased, Chinese, multilingual. LaBSE, which has a Dense module, has another."""
MAX_MOVES = 2
"""How often a repo may get a new commit while it is read."""
PADDING_BYTES = 7
"""Writers pad a header with spaces to a multiple of eight."""


class Moved(Exception):
    """Answers came from different commits: all are to be read again, from this one."""

    def __init__(self, commit: str) -> None:
        super().__init__(commit)
        self.commit = commit


def read_remote(files: RepoFiles, meter: Meter) -> Checkpoint:
    """The checkpoint of a repo.

    Raises:
        InspectError: of the kind that tells what is wrong.
    """
    revision = files.repo.revision
    for _ in range(MAX_MOVES + 1):
        try:
            if files.repo.selector is not None:
                return _read_selected(files, revision, meter)
            return _read(files, revision, meter)
        except Moved as moved:
            revision = moved.commit
        except RevisionNotFound:
            if revision == files.repo.revision:
                raise
            raise HubError(f"{files.repo} has no commit {revision}, which an answer named", "Try again.") from None
        finally:
            files.cancel()
    raise HubError(f"{files.repo} changes faster than it can be read", "Try again, or name a commit (--revision).")


def read_remote_config(files: RepoFiles, meter: Meter) -> Checkpoint:
    """The checkpoint of a repo's config alone.

    Raises:
        InspectError: of the kind that tells what is wrong.
    """
    if files.repo.selector is not None:
        raise UsageError(
            f"{files.repo.selected_name} selects some of a repo's weights, and a config alone has none",
            "Leave out --config-only, or what stands after the colon.",
        )
    try:
        config = files.one(files.config(files.repo.revision))
    finally:
        files.cancel()
    if config.value is None:
        raise FileMissing(f"{files.repo} has no {CONFIG_FILE}", "Leave out --config-only.")
    return _checkpoint(files, config, NO_WEIGHTS, config.commit, meter)


def current_commit(files: RepoFiles) -> str | None:
    """The commit that the revision stands for now, asked in one request; None where the server does not say.

    Raises:
        InspectError: the repo or the revision is not there, or the Hub is not.
    """
    try:
        return files.one(files.commit(files.repo.revision)).value
    finally:
        files.cancel()


def _read(files: RepoFiles, revision: str, meter: Meter) -> Checkpoint:
    config = files.config(revision)
    file = files.header(revision, WEIGHTS_FILE)
    on_main = revision == DEFAULT_REVISION
    headers = files.headers() if on_main else None
    index = None if on_main else files.index(revision)
    listing = _first_round(files, config, file, headers or index)
    commit = _one_commit(config, file)
    found = file.result
    asked = _Asked(config, headers, index, listing, commit, revision)
    weights = _of_index(files, asked) if found.value is None else _of_file(files, found.value, asked)
    proven = found.value is None or found.commit is not None
    weights = _with_modules(files, commit or revision, config.result, asked.listing, weights)
    found_config = _with_documents(files, asked, commit or revision, config.result, weights)
    return _checkpoint(files, found_config, weights, commit if proven else None, meter)


@dataclass(slots=True)
class _Asked:
    """What was asked for so far.

    Attributes:
        headers: all shards' headers, where the revision is `main`.
        index: the index alone, where it is another.
        listing: the list of files.
        commit: of the config and the weights file, None where it is not known.
    """

    config: Task[Found[dict[str, Any]]]
    headers: Task[Found[Headers]] | None
    index: Task[Found[Index]] | None
    listing: Task[Found[Listing]] | None
    commit: str | None
    revision: str

    @property
    def pinned(self) -> str:
        return self.commit or self.revision


def _of_file(files: RepoFiles, header: Header, asked: _Asked) -> Weights:
    """The weights of model.safetensors; of the index beside it where that tells of more and all of it is there.

    Whether there is one, the requests of the first round say; a mirror without the one answer is asked.
    """
    alone = single(header, File(WEIGHTS_FILE, None), str(files.repo))
    if asked.headers is not None and not _is_there(files, asked.headers):
        if _no_index(asked.headers):
            return alone
        asked.headers, asked.index = None, files.index(asked.pinned)
    headers, index = asked.headers, asked.index
    beside: Index | None = None
    names: Collection[str] = ()
    if headers is not None and headers.result.value is not None:
        answer = headers.result.value
        beside, names = answer.index, [tensor.name for each in answer.headers.values() for tensor in each.tensors]
    elif index is not None and _is_there(files, index):
        beside = index.result.value
        names = (beside and beside.weight_map) or ()
    if beside is None:
        return alone
    if not knows_more(beside, names, WEIGHTS_FILE, header):
        return set_aside(alone, INDEX_FILE, WEIGHTS_FILE)
    try:
        return _of_index(files, asked)
    except FileMissing as error:
        return set_aside(alone, INDEX_FILE, WEIGHTS_FILE, error.message)


def _of_index(files: RepoFiles, asked: _Asked) -> Weights:
    """The weights of the index's shards, from the one answer with all headers or each shard's own; else other files."""
    headers = asked.headers
    if headers is not None and asked.listing is None and _is_there(files, headers):
        asked.listing = files.listing(DEFAULT_REVISION)
    trusted = None if headers is None else _from_one_answer(files, headers, asked.listing, asked.commit)
    return _from_shards(files, asked, no_index=_no_index(headers)) if trusted is None else trusted


def _with_documents(
    files: RepoFiles, asked: _Asked, revision: str, config: Found[dict[str, Any]], weights: Weights
) -> Found[dict[str, Any]]:
    """The config, with what stands beside it: ModelOpt's recipe, asked for where a list of files shows one, or where
    there is no list and the tensors are packed; Mistral's params.json, where a list shows its weights, too."""
    task, value = asked.listing, config.value
    listing = None if task is None or not task.future.done() or task.error is not None else task.result.value
    names = [file.name for file in listing.files] if listing is not None else []
    if value is not None and has_own_weights(names):
        data = files.one(files.document(revision, PARAMS_FILE)).value
        if data is not None:
            from inspector.hub.formats.params import beside_config

            value = beside_config(value, data, str(files.repo))
    if lacks_recipe(value) and (QUANT_CONFIG_FILE in names if listing is not None else looks_packed(weights)):
        data = files.one(files.document(revision, QUANT_CONFIG_FILE)).value
        value = value if data is None else with_recipe(value, data, str(files.repo))
    return config if value is config.value else Found(config.answer, value)


def _is_there(files: RepoFiles, task: Task[Found[Any]]) -> bool:
    return all(done.error is None and done.result.value is not None for done in files.as_done(task))


def _read_selected(files: RepoFiles, revision: str, meter: Meter) -> Checkpoint:
    """What the user selected of the repo, found in the list of its files."""
    config, listing = files.config(revision), files.listing(revision)
    for task in files.as_done(config, listing):
        if task.error is not None:
            raise task.error
    listed = listing.result.value
    commit = config.result.commit
    if listed is not None and listed.commit is not None:
        if commit is not None and commit != listed.commit:
            raise Moved(listed.commit)
        commit = listed.commit
    weights = _other_formats(files, commit or revision, config.result, listing)
    return _checkpoint(files, config.result, weights, commit, meter)


def _checkpoint(
    files: RepoFiles, config: Found[dict[str, Any]], weights: Weights, commit: str | None, meter: Meter
) -> Checkpoint:
    """The parts of the answer put together; without a commit if the config's is not known to be the same."""
    has_config = config.value is not None or weights.config is not None
    commit = commit if config.value is None or config.commit is not None else None
    parts = weights.parts
    if parts:
        from inspector.hub.formats.parts import placed

        parts = placed(parts, files.repo.selected_name, commit, "hub")
    return Checkpoint(
        repo_id=files.repo.selected_name,
        revision=commit,
        source="hub",
        config=(config.value if weights.config is None else weights.config) or {},
        tensors=weights.tensors,
        format=weights.format,
        files=weights.files,
        metadata=weights.metadata,
        warnings=weights.warnings if has_config else (NO_CONFIG, *weights.warnings),
        network=meter.network(),
        parts=parts,
        design=Design() if weights.is_design else None,
    )


def _first_round(
    files: RepoFiles, config: Task[Any], file: Task[Any], shards: Task[Any] | None
) -> Task[Found[Listing]] | None:
    """Waits for config and weights file. Where it fails, a refusal (gated, not found) counts more than a lost answer.

    Returns:
        The list of the repo's files, on its way: it is asked for once the one answer with all headers is there, or once
        the config is of a class to which sentence-transformers often adds modules.
    """
    listing = None
    for task in files.as_done(*(task for task in (config, file, shards) if task is not None)):
        if isinstance(task.error, AccessError) and task is not shards:
            raise task.error if task is config else _weights_refused(files, task.error, config)
        if task is shards and task.error is None and isinstance(task.result.value, Headers):
            listing = files.listing(DEFAULT_REVISION)
        done = config.future.done() and config.error is None
        if done and listing is None and has_own_modules(config.result.value):
            listing = files.listing(config.result.commit or files.repo.revision)
        if done and file.future.done() and file.error is None:
            return listing
    errors = [task.error for task in (config, file, shards) if task is not None and task.error is not None]
    raise next((error for error in errors if isinstance(error, AccessError)), errors[0])


def _weights_refused(files: RepoFiles, error: AccessError, config: Task[Any]) -> AccessError:
    """The error of weights that may not be read; where the config may be, with what can be asked all the same."""
    if all(done.error is None and done.result.value is not None for done in files.as_done(config)):
        error.hint = f"{error.hint} With --config-only its config.json alone is read.".strip()
    return error


def _one_commit(*tasks: Task[Any], commit: str | None = None) -> str | None:
    """The commit that all answers name, None if none does. Raises Moved, to the latest one, where two differ."""
    for task in sorted(tasks, key=lambda task: task.finished_at, reverse=True):
        own = task.result.commit
        if commit is not None and own is not None and own != commit:
            raise Moved(commit)
        commit = commit or own
    return commit


def has_own_modules(config: dict[str, Any] | None) -> bool:
    """Whether a repo is worth a look at its files for modules of sentence-transformers: it has no config.json, or names
    a class without a head to which embedding models add Dense layers.

    BERT with its original vocabularies is left out: nearly none of its many embedding models has one, and each would
    take a request more. `org/name:modules.json` asks for them.
    """
    if config is None:
        return True
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    return name in DENSE_CLASSES or (name == "BertModel" and config.get("vocab_size") not in BERT_VOCABULARIES)


def _with_modules(
    files: RepoFiles,
    revision: str,
    config: Found[dict[str, Any]],
    task: Task[Found[Listing]] | None,
    weights: Weights,
) -> Weights:
    """The weights, with those of a sentence-transformers model's own modules where the list of files shows any."""
    if task is None or weights.parts:
        return weights
    for done in files.as_done(task):
        if done.error is not None or done.result.value is None:
            return weights  # a mirror without lists
    listed = task.result.value
    names = {file.name for file in listed.files} if listed is not None else set()
    if listed is None or MODULES_FILE not in names:
        return weights
    if listed.commit is not None and config.commit is not None and listed.commit != config.commit:
        raise Moved(listed.commit)
    from inspector.hub.repo.remote_place import read_remote_modules

    return read_remote_modules(files, listed.commit or revision, config.value, listed, weights) or weights


def _from_one_answer(
    files: RepoFiles, task: Task[Found[Headers]], listing: Task[Found[Listing]] | None, commit: str | None
) -> Weights | None:
    """The weights from the one answer with all headers; None if it is not there or its commit cannot be proven.

    The answer may not say which commit it is of. The list of files does, and has their sizes: a header whose text fits
    its file to the byte is that file's header.
    """
    for done in files.as_done(task):
        if done.error is not None or done.result.value is None:
            return None
    answer, headers = task.result, task.result.value
    assert headers is not None
    if commit is not None and answer.commit not in (None, commit):
        raise Moved(str(answer.commit))
    named = answer.commit is not None and answer.commit == commit
    shards = headers.index.shards
    # Worked out while the list is on its way.
    lengths = {} if named else {shard: headers.text_bytes(shard) for shard in shards}
    beside: tuple[File, ...] = ()
    sizes: dict[str, int | None] = {}
    for done in files.as_done(listing or files.listing(DEFAULT_REVISION)):
        listed: Listing | None = None if done.error is not None else done.result.value
        if listed is None or (commit is not None and listed.commit != commit):
            if listed is not None and listed.commit is not None and not named:
                raise Moved(listed.commit)
            continue
        beside = listed.files
        sizes = {file.name: file.size for file in beside}
    if named or all(_fits(headers.headers[shard], lengths[shard], sizes.get(shard)) for shard in shards):
        return sharded(headers.index, headers.headers, sizes, listed=beside)
    return None


def _fits(header: Header, length: int, size: int | None) -> bool:
    """Whether a file of this size has room for exactly this header, as long as its text is, and its data."""
    return size is not None and 0 <= size - PREFIX_BYTES - header.data_bytes - length <= PADDING_BYTES


def _no_index(headers: Task[Found[Headers]] | None) -> bool:
    """Whether the Hub says that there is no index, so that the list of files will be needed."""
    if headers is None or not headers.future.done() or headers.error is not None:
        return False
    return headers.result.answer.code == "EntryNotFound"  # a mirror without the endpoint says less


def _from_shards(files: RepoFiles, asked: _Asked, *, no_index: bool) -> Weights:
    """The weights from the index and each shard's header, all of the commit (of the revision where none is known).

    Args:
        no_index: the index is most likely not there: what else there is, is asked for at the same time.
    """
    pinned, commit = asked.pinned, asked.commit
    task = asked.index or files.index(pinned)
    if asked.listing is None and no_index:
        asked.listing = files.listing(pinned)
    index = files.one(task).value
    _one_commit(task, commit=commit)
    if index is None:
        return _other_formats(files, pinned, asked.config.result, asked.listing)
    headers = _shard_headers(files, index, pinned, commit)
    missing = next((shard for shard, header in headers.items() if header is None), None)
    if missing is not None:
        from inspector.hub.repo.remote_place import instead_of_missing

        index = instead_of_missing(files, index, missing, asked.listing or files.listing(pinned))
        headers = _shard_headers(files, index, pinned, commit)
    return sharded(index, {shard: header for shard, header in headers.items() if header is not None})


def _shard_headers(files: RepoFiles, index: Index, pinned: str, commit: str | None) -> dict[str, Header | None]:
    """Each shard's header, all of one commit; None of a shard that is not there."""
    reads = files.first_reads(index)
    tasks = {shard: files.header(pinned, shard, reads[shard]) for shard in index.shards}
    found = files.all(list(tasks.values()))
    if all(each.value is not None for each in found):
        _one_commit(*tasks.values(), commit=commit)
    return {shard: each.value for shard, each in zip(tasks, found, strict=True)}


def _other_formats(
    files: RepoFiles, revision: str, config: Found[dict[str, Any]], listing: Task[Found[Listing]] | None
) -> Weights:
    """PyTorch's and GGUF's files, with code that repos of safetensors never load."""
    from inspector.hub.repo.remote_place import read_remote_formats

    return read_remote_formats(files, revision, config.value, listing)
