"""A served model as a generator: what it is asked, what is made of its answers."""

from __future__ import annotations

import pytest

from realm.core.errors import RefusedError, UnavailableError
from realm.core.records import Message
from realm.models.engines.endpoint import Endpoint, Service
from tiny_endpoint import said, served


def chat(text: str) -> tuple[Message, ...]:
    return (Message(role="system", content="Be short."), Message(role="user", content=text))


def test_answers_come_in_the_order_of_the_prompts() -> None:
    with served(lambda asked: asked["messages"][-1]["content"].upper()) as endpoint:
        generator = Endpoint(Service(url=endpoint.url, model="hero", at_once=3))
        prompts = [chat(f"q{number}") for number in range(8)]
        answers = generator.generate(prompts, max_tokens=5, temperature=0.5, top_p=0.9, seed=1)
        again = [request["seed"] for request in endpoint.requests]
        generator.generate(prompts, max_tokens=5, temperature=0.5, top_p=0.9, seed=1)
    assert answers == [f"Q{number}" for number in range(8)]
    first, *others = endpoint.requests
    assert (first["model"], first["max_tokens"], first["temperature"], first["top_p"]) == (
        "hero",
        5,
        0.5,
        0.9,
    )
    assert [turn["role"] for turn in first["messages"]] == ["system", "user"]
    assert len(set(again)) == 8
    assert sorted(request["seed"] for request in others[7:]) == sorted(again)
    assert generator.description == {"backend": f"endpoint {endpoint.url}", "model": "hero"}


def test_a_busy_service_is_asked_again_and_a_refusing_one_is_not() -> None:
    with served(lambda _: "yes") as endpoint:
        generator = Endpoint(Service(url=endpoint.url, model="m", attempts=2))
        endpoint.replies = [(503, b"", {})]
        assert generator.generate([chat("a")], max_tokens=1) == ["yes"]
        endpoint.replies = [(404, b"no such model", {})]
        with pytest.raises(RefusedError, match=r"404.*no such model"):
            generator.generate([chat("a")], max_tokens=1)
        endpoint.replies = [(200, b"<html>", {})]
        with pytest.raises(RefusedError, match="another form"):
            generator.generate([chat("a")], max_tokens=1)
    assert len(endpoint.asked) == 4


def test_one_answer_streams_in_one_piece_and_losses_are_not_told() -> None:
    with served(lambda _: "yes") as endpoint:
        generator = Endpoint(Service(url=endpoint.url, model="m"))
        assert list(generator.stream(chat("a"), max_tokens=1)) == ["yes"]
        with pytest.raises(UnavailableError, match="no losses"):
            generator.loss([chat("a")])


def test_an_adapter_is_loaded_once_under_its_name() -> None:
    with served(lambda _: "") as endpoint:
        generator = Endpoint(Service(url=endpoint.url, model="m"))
        endpoint.replies = [
            (200, said("Success"), {}),
            (400, b"The lora adapter 'abc' has already been loaded.", {}),
            (400, b"No adapter found", {}),
        ]
        generator.load_adapter("abc", "/vault/abc")
        generator.load_adapter("abc", "/vault/abc")
        with pytest.raises(RefusedError, match="No adapter"):
            generator.load_adapter("def", "/vault/def")
    path, asked, _ = endpoint.asked[0]
    assert (path, asked) == ("/v1/load_lora_adapter", {"lora_name": "abc", "lora_path": "/vault/abc"})
