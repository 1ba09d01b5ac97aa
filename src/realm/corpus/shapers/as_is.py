"""Take documents that are rows already: chats, preferences and texts as they came."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from realm.core.config import Config as BaseConfig
from realm.core.records import Example
from realm.corpus.document import Document
from realm.corpus.shaper import Row
from realm.corpus.tally import Tally


class AsIs:
    """Pass documents on with their tags."""

    version = "1"

    class Config(BaseConfig):
        """Nothing to choose."""

        kind: Literal["as_is"] = "as_is"

    def __init__(self, config: Config) -> None:
        self.config = config

    def shape(self, documents: Iterable[Document], tally: Tally) -> Iterator[Row]:
        """Yield one row a document; records are counted. Whether a row keeps its spec is a check's to say."""
        for document in documents:
            if document.form == "record":
                tally.add("a record is no row by itself", document.place)
                continue
            language = {} if document.language is None else {"language": document.language}
            example = Example(
                messages=document.messages,
                rejected=document.rejected,
                text=document.text,
                tags={**language, **document.tags},
            )
            yield Row(
                example=example,
                origin=document.origin,
                document=document.id,
                shaper=f"{self.config.kind}@{self.version}",
                group=document.split_group,
            )
