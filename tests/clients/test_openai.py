"""The openai package through the sidecar: whole answers, and streams whose chunks come as they are sent."""

import json
from pathlib import Path

import pytest

from tests.clients.comparing import ask_both, assert_logged
from tests.clients.hosts import ClientHost
from tests.clients.openai_server import WORDS, OpenAIServer
from tests.clients.servers import Server
from tests.logger_sidecar.wire import sidecar

pytestmark = [pytest.mark.real, pytest.mark.slow]


def test_a_whole_answer_is_the_same_and_logged(common_clients: ClientHost, tmp_path: Path) -> None:
    with OpenAIServer() as server:
        both = ask_both(lambda url: list(common_clients.ask("openai", url)), Server("openai", server.port, 0), tmp_path)
    assert both.through == both.direct
    assert both.direct[0]["choices"][0]["message"]["content"] == "".join(WORDS)
    assert_logged(both, decoded=False)


def test_a_stream_is_the_same_byte_for_byte(common_clients: ClientHost, tmp_path: Path) -> None:
    with OpenAIServer(freely=True) as server:
        both = ask_both(
            lambda url: list(common_clients.ask("openai-stream", url)), Server("openai", server.port, 0), tmp_path
        )
    assert both.through == both.direct
    assert len(both.direct) == len(WORDS) + 1


def test_each_chunk_of_a_stream_is_there_before_the_next_is_sent_and_the_event_is_folded(
    common_clients: ClientHost, tmp_path: Path
) -> None:
    with OpenAIServer() as server, sidecar(f"http://127.0.0.1:{server.port}", tmp_path) as running:
        chunks = common_clients.ask("openai-stream", running.url)
        for number, word in enumerate(WORDS):
            server.let_go()
            # The server waits for the test: a chunk that is here was passed on while the next one was not yet made.
            assert next(chunks)["choices"][0]["delta"]["content"] == word
            assert server.sent == number + 1
        assert next(chunks)["usage"]["completion_tokens"] == len(WORDS)
        assert list(chunks) == []
        (event,) = running.events()
    assert event.protocol == "openai"
    assert event.status_code == 200
    folded = json.loads(event.response.body)
    assert folded["choices"][0]["message"]["content"] == "".join(WORDS)
    assert folded["choices"][0]["finish_reason"] == "stop"
    assert folded["usage"]["completion_tokens"] == len(WORDS)
    assert event.chunk_count == len(WORDS) + 1
    assert 0 < event.ttft_ms <= event.duration_ms
