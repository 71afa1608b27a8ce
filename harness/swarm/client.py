"""Asking an engine's API, with the ways in which it does not answer named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import requests
from docker import DockerClient
from docker.errors import APIError, DockerException

from harness.errors import HarnessError, LabError
from harness.lab import Node

T = TypeVar("T")


class NoAnswer(HarnessError):
    """An engine did not answer a question; ``kind`` is timeout, refused, or the API's error."""

    def __init__(self, node: str, kind: str, words: str) -> None:
        super().__init__(f"{node} answers: {words}" if kind == "api" else f"{node}: {words}")
        self.node = node
        self.kind = kind


def ask(node: Node, question: Callable[[Any], T], client: DockerClient | None = None) -> T:
    """Put a question to a node's Docker client; :class:`NoAnswer` when it has no answer.

    ``client`` is another client to that node, for one who has more patience or less.
    """
    try:
        return question(client or node.docker)
    except APIError as error:
        raise NoAnswer(node.name, "api", str(error.explanation or error)) from error
    except requests.exceptions.Timeout as error:
        raise NoAnswer(node.name, "timeout", "no answer in time") from error
    except (requests.exceptions.RequestException, DockerException, LabError, OSError) as error:
        raise NoAnswer(node.name, "refused", _first_line(error)) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
