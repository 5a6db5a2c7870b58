"""HiQ's client of OCI Streaming."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from . import _hiq
from .utils import Singleton

__all__ = ["OciStreamingClient"]

_DEFAULT_CONFIG = "~/.oci/config"
_DEFAULT_PROFILE = "DEFAULT"
# Bytes and messages of one call, below what the service takes.
_MAX_CALL_BYTES = 900_000
_MAX_CALL_MESSAGES = 200


class OciStreamingClient(metaclass=Singleton):
    """Puts messages into a stream, one call each time. There is one client in a process.

    `OCI_STM_END` (the messages endpoint) and `OCI_STM_OCID` (the stream) fill in what is not given. Requests are signed
    with the key or session token of a profile; `OCI_CLI_AUTH=instance_principal` and `resource_principal` sign without.
    """

    def __init__(
        self,
        ociMessageEndpoint: str | None = None,
        ociStreamOcid: str | None = None,
        ociConfigFilePath: str = _DEFAULT_CONFIG,
        ociProfileName: str = _DEFAULT_PROFILE,
    ) -> None:
        if ociMessageEndpoint is None:
            ociMessageEndpoint = os.environ.get("OCI_STM_END", "")
        if ociStreamOcid is None:
            ociStreamOcid = os.environ.get("OCI_STM_OCID", "")
        if not ociMessageEndpoint:
            raise ValueError("🦉 Please setup environment variable `OCI_STM_END`")
        if not ociStreamOcid:
            raise ValueError("🦉 Please setup environment variable `OCI_STM_OCID`")
        self.ociMessageEndpoint = ociMessageEndpoint
        self.ociStreamOcid = ociStreamOcid
        self.ociConfigFilePath = ociConfigFilePath
        self.ociProfileName = ociProfileName
        settings = {"endpoint": ociMessageEndpoint, "stream": ociStreamOcid}
        # What is left at HiQ's default may come from OCI_CONFIG_FILE and OCI_CLI_PROFILE.
        if ociConfigFilePath != _DEFAULT_CONFIG:
            settings["config_file"] = os.path.expanduser(ociConfigFilePath)
        if ociProfileName != _DEFAULT_PROFILE:
            settings["profile"] = ociProfileName
        self.client = _hiq.OciStream.open(settings)

    def produce_messages(self, key: str, message: str, check: bool = False) -> None:
        """Puts one message; the key decides about its partition. With `check`, prints what became of it.

        ExportError when the service refuses the call, or cannot be reached.
        """
        for entry in self.put([(key, message)]):
            if not check:
                continue
            if entry["error"]:
                print("Error ({}) : {}".format(entry["error"], entry["error_message"]))
            else:
                print("Published message to partition {} , offset {}".format(entry["partition"], entry["offset"]))

    def put(self, messages: Iterable[tuple[str, str]]) -> list[Mapping[str, Any]]:
        """Puts messages, in as few calls as they fit into. What became of each, in their order."""
        encoded = [(key, message.encode("utf-8", "replace")) for key, message in messages]
        entries: list[Mapping[str, Any]] = []
        with _hiq.suppress():
            for call in _calls(encoded):
                entries += self.client.put(call)
        return entries


def _calls(messages: Iterable[tuple[str, bytes]]) -> Iterable[list[tuple[str | None, bytes]]]:
    call: list[tuple[str | None, bytes]] = []
    size = 0
    for key, message in messages:
        more = len(key.encode("utf-8", "replace")) + len(message)
        if call and (size + more > _MAX_CALL_BYTES or len(call) == _MAX_CALL_MESSAGES):
            yield call
            call, size = [], 0
        call.append((key, message))
        size += more
    if call:
        yield call
