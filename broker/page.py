"""Where the tracker's page is served. The page itself is a process of its own (`broker.web`)."""

from __future__ import annotations

import logging

from broker.config import DEFAULT_WEB, TrackerConfig, web_address
from protocol.errors import NetworkError
from service.web_place import WebPlace

_logger = logging.getLogger(__name__)


def page_place(config: TrackerConfig) -> WebPlace | None:
    """The place that ``config`` names, or the default one if that can be had; None: there is no page. Raises as
    `WebPlace` does."""
    address = web_address(config)
    if address is None:
        return None
    try:
        return WebPlace(address, config.web_token_file, "the page", "web", DEFAULT_WEB)
    except NetworkError as error:
        if config.web is not None:
            raise
        why = str(error).partition(";")[0]
    _logger.warning('%s: this tracker has no page; set web to another address, or to "" for none', why)
    return None
