"""What the drivers of web frameworks share: HiQ's constructor without `hiq_id_func`, since each request is a key."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from .base import HiQBase
from .constants import ExtraMetrics
from .hiq_utils import func_args_handler

__all__: list[str] = []


class DriverByRequest(HiQBase):
    """Holds a tree for each request."""

    # Gives the id of the current request.
    request_id: ClassVar[type]

    def __init__(
        self,
        hiq_table_or_path: Any = (),
        metric_funcs: Iterable[Callable[[], float]] = (time.time,),
        func_args_handler: Callable[..., Any] = func_args_handler,
        target_path: str | None = None,
        max_hiq_size: int = 30,
        verbose: bool = False,
        fast_fail: bool = True,
        tpl: str | None = None,
        extra_hiq_table: Iterable[Any] = (),
        attach_timestamp: bool = False,
        extra_metrics: Iterable[ExtraMetrics] = (),
        lmk_path: str | None = None,
        lmk_handler: Any = None,
        lmk_logger: Any = None,
    ) -> None:
        super().__init__(
            hiq_table_or_path,
            metric_funcs,
            self.request_id(),
            func_args_handler,
            target_path,
            max_hiq_size,
            verbose,
            fast_fail,
            tpl,
            extra_hiq_table,
            attach_timestamp,
            extra_metrics,
            lmk_path,
            lmk_handler,
            lmk_logger,
        )
