"""A repository: code, manuals and configs of a folder, a git repository or a git URL.

Of a git repository the files of one commit are read, blob by blob; what is not committed is not read. Of
a plain folder the files that .gitignore leaves, without following symbolic links. Each document is one
whole file with its licence: what a file declares itself, else that of the nearest licence file above it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Protocol

from pydantic import Field

from realm.core.errors import ConfigError, DataError
from realm.core.text import printable
from realm.corpus.code.languages import LANGUAGES, by_name, language_of
from realm.corpus.document import Document, Origin
from realm.corpus.repos import filerules, folderfiles
from realm.corpus.repos.folderfiles import Patterns
from realm.corpus.repos.gitclone import fetch, protocol_of
from realm.corpus.repos.gitfiles import GitFiles, git_dir_of
from realm.corpus.repos.licences import Licences, declared, is_licence_file
from realm.corpus.source import Item, SourceConfig
from realm.corpus.tally import Tally

_PATH_CHARS = 480
_LICENCE_BYTES = 200_000
_MOST_LICENCES = 2_000
_FILTERS: dict[str, tuple[str, ...]] = {
    "avorion": ("boxelware", "data/scripts/", "data\\scripts\\", "data/textures/", "data/shaders/"),
}
"""Phrases, in lower case, that name a vendor or the paths of its own files."""


class _Entry(NamedTuple):
    """One file that is listed: what tells its content, and its licence."""

    content: str
    size_bytes: int
    licence: str

    @property
    def fingerprint(self) -> str:
        return f"{self.content} {self.licence}"


class _Files(Protocol):
    """Where the bytes are."""

    commit: str | None

    def list(self, tally: Tally) -> Iterator[tuple[str, str, int]]:
        """Yield path, content id and size of every regular file."""
        ...

    def read(self, path: str, content: str) -> bytes | None:
        """Return the bytes, or None where they are gone or others than listed."""
        ...


class Repo:
    """Read the files of a repository that people wrote."""

    version = "1"

    class Config(SourceConfig):
        """Which repository, and what of it."""

        kind: Literal["repo"] = "repo"
        location: Annotated[str, Field(min_length=1, max_length=2000)]
        """A folder, a git working copy, a bare git directory, or a git URL: `https://…`, `ssh://…`,
        `user@host:path` or `file:///…`."""
        ref: Annotated[str, Field(min_length=1, max_length=255)] = "HEAD"
        """Branch, tag or commit; of a plain folder only `HEAD`."""
        cache: Path | None = None
        """Folder for repositories behind URLs; needed for these."""
        timeout_s: Annotated[float, Field(gt=0)] = 1800
        """Longest time that fetching a URL may take."""
        include: tuple[str, ...] = ()
        """Lines as of a .gitignore; only files that they name are taken. Empty for all."""
        exclude: tuple[str, ...] = ()
        """Lines as of a .gitignore; files that they name are left out."""
        languages: tuple[str, ...] = ()
        """Only files in these languages. Empty for all that are known."""
        vendored: tuple[str, ...] = tuple(sorted(filerules.VENDORED))
        """Names of folders with other people's code, which are left out."""
        max_file_bytes: Annotated[int, Field(ge=1, le=100_000_000)] = 1_000_000
        filters: tuple[Literal["avorion"], ...] = ()
        """Leave out files that name a vendor or the paths of its own files."""
        leave_out: tuple[Annotated[str, Field(min_length=3, max_length=200)], ...] = ()
        """Leave out files that hold one of these phrases, in any case."""

    def __init__(self, config: Config) -> None:
        """Take a config. Raises ConfigError for an unknown language, or a URL that cannot be taken."""
        unknown = set(config.languages) - LANGUAGES.keys()
        if unknown:
            raise ConfigError(
                f"{config.name}: no language is called {min(unknown)}",
                hint=f"there are: {', '.join(LANGUAGES)}",
            )
        self.config = config
        self._protocol = protocol_of(config.location)
        if self._protocol is not None and config.cache is None:
            raise ConfigError(f"{config.name}: a git URL needs a cache", hint="set cache to a folder")
        self._vendored = frozenset(name.lower() for name in config.vendored)
        self._files: _Files | None = None
        self._entries: dict[str, _Entry] = {}

    def items(self, tally: Tally) -> Iterator[Item]:
        """List the files as they are now; a URL is fetched first.

        Raises NotFoundError for a folder or ref that is not there, DataError where git fails.
        """
        self._open(tally, refresh=True)
        for path, entry in self._entries.items():
            yield Item(key=path, fingerprint=entry.fingerprint, size_bytes=entry.size_bytes)

    def read(self, item: Item, tally: Tally) -> Iterator[Document]:
        """Yield the file as one document. Raises DataError where it changed since it was listed."""
        files = self._open(Tally(), refresh=False)
        entry = self._entries.get(item.key)
        if entry is None or entry.fingerprint != item.fingerprint:
            raise DataError("the file changed since it was listed", file=item.key, hint="collect again")
        content = files.read(item.key, entry.content)
        if content is None:
            tally.add("not readable, or gone", item.key)
            return
        text = filerules.decode(content)
        if text is None:
            tally.add("binary or not UTF-8", item.key)
            return
        language = language_of(item.key, text)
        reason = self._text_refusal(text, language)
        if reason is not None:
            tally.add(reason, item.key)
            return
        yield self._document(item.key, text, language, entry.licence, files.commit)

    def _document(
        self, path: str, text: str, language: str | None, licence: str, commit: str | None
    ) -> Document:
        config = self.config
        origin = Origin(
            source=config.name,
            kind=config.kind,
            path=path,
            first_line=1,
            last_line=max(len(text.rstrip("\n").split("\n")), 1),
            commit=commit,
            rig=config.rig,
            contributor=config.contributor,
            licence=config.licence or declared(text) or licence,
        )
        shown = None if language == "text" else language
        return Document(
            id=path, form="text", text=text, language=shown, tags=config.tags, group=path, origin=origin
        )

    def _text_refusal(self, text: str, language: str | None) -> str | None:
        if language is None:
            return "no known language"
        if self.config.languages and language not in self.config.languages:
            return "another language"
        reason = filerules.text_refusal(text, language)
        if reason is not None:
            return reason
        lowered = text.lower()
        for name in self.config.filters:
            if any(phrase in lowered for phrase in _FILTERS[name]):
                return f"filtered: {name}"
        if any(phrase.lower() in lowered for phrase in self.config.leave_out):
            return "filtered: a phrase to leave out"
        return None

    def _open(self, tally: Tally, *, refresh: bool) -> _Files:
        """Return the files, listed; once for all reads."""
        if self._files is None or refresh:
            self._files = files = self._connect(refresh=refresh)
            self._entries = self._list(files, tally)
        return self._files

    def _connect(self, *, refresh: bool) -> _Files:
        config = self.config
        if self._protocol is not None and config.cache is not None:
            folder = fetch(config.location, config.ref, config.cache, config.timeout_s, refresh=refresh)
            return _Git(folder, "HEAD", config)
        folder = Path(config.location)
        git_dir = git_dir_of(folder)
        if git_dir is not None:
            return _Git(git_dir, config.ref, config)
        if config.ref != "HEAD":
            raise ConfigError(f"{config.name}: {folder} is no git repository, so it has no refs")
        return _Folder(folder, config)

    def _list(self, files: _Files, tally: Tally) -> dict[str, _Entry]:
        found = list(files.list(tally))
        licences = Licences(dict(self._licence_texts(files, found, tally)))
        include, exclude = self.config.include, self.config.exclude
        wanted = Patterns(include) if include else None
        unwanted = Patterns(exclude) if exclude else None
        entries: dict[str, _Entry] = {}
        for path, content, size in found:
            if (wanted and not wanted.says(path)) or (unwanted and unwanted.says(path)):
                tally.add("not asked for", path)
                continue
            reason = self._path_refusal(path, size)
            if reason is not None:
                tally.add(reason, path)
                continue
            entries[path] = _Entry(content, size, licences.of(path))
        return entries

    def _path_refusal(self, path: str, size: int) -> str | None:
        if len(path) > _PATH_CHARS or not path.isprintable():
            return "odd file name"
        if is_licence_file(path):
            return "licence text"
        reason = filerules.path_refusal(path, self._vendored)
        if reason is not None:
            return reason
        language = by_name(path)
        if language is None and "." in path.rpartition("/")[2].lstrip("."):
            return "no known language"
        if self.config.languages and not self._may_be_wanted(language):
            return "another language"
        return "too large" if size > self.config.max_file_bytes else None

    def _may_be_wanted(self, language: str | None) -> bool:
        """Say whether a name allows for a wanted language: C may be C++, no suffix a script."""
        either = {"c", "cpp"}
        return (
            language is None
            or language in self.config.languages
            or (language in either and not either.isdisjoint(self.config.languages))
        )

    def _licence_texts(
        self, files: _Files, found: list[tuple[str, str, int]], tally: Tally
    ) -> Iterator[tuple[str, str]]:
        """Yield licence files' texts; one that cannot be read stands for an unknown licence."""
        named = [entry for entry in found if is_licence_file(entry[0])]
        if len(named) > _MOST_LICENCES:
            raise DataError(f"{len(named):,} licence files", file=self.config.name, hint="exclude some")
        for path, content, size in named:
            raw = files.read(path, content) if size <= _LICENCE_BYTES else None
            text = filerules.decode(raw) if raw is not None else None
            if text is None:
                tally.add("licence file not readable", path)
            yield path, text or ""


class _Git:
    """The files of one commit."""

    def __init__(self, git_dir: Path, ref: str, config: Repo.Config) -> None:
        self._git = GitFiles(git_dir, ref, config.name)
        self.commit: str | None = self._git.commit

    def list(self, tally: Tally) -> Iterator[tuple[str, str, int]]:
        for blob in self._git.list():
            if blob.mode == "120000":
                tally.add("symbolic link", printable(blob.path))
            elif blob.mode == "160000":
                tally.add("submodule", printable(blob.path))
            elif blob.size_bytes is None:
                tally.add("blob missing", printable(blob.path))
            else:
                yield blob.path, blob.oid, blob.size_bytes

    def read(self, path: str, content: str) -> bytes | None:
        return self._git.read(content)


class _Folder:
    """The files of a plain folder."""

    commit: str | None = None

    def __init__(self, root: Path, config: Repo.Config) -> None:
        self._root = root
        self._limit = max(config.max_file_bytes, _LICENCE_BYTES)

    def list(self, tally: Tally) -> Iterator[tuple[str, str, int]]:
        for file in folderfiles.walk(self._root, tally):
            yield file.path, file.fingerprint, file.size_bytes

    def read(self, path: str, content: str) -> bytes | None:
        got = folderfiles.read(self._root, path, self._limit)
        return got[0] if got is not None and got[1] == content else None
