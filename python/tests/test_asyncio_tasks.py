"""Lanes in asyncio: the task of a handler."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Optional

import pytest

import a3s_lane
from a3s_lane import Lane
from loops import Runner


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks start eagerly from 3.12 on")
def test_a_handler_that_does_not_wait_needs_no_turn_of_the_loop() -> None:
    async def main() -> None:
        async with Lane() as lane:

            async def at_once(payload: Any) -> Optional[str]:
                task = asyncio.current_task()
                assert task is not None
                return task.get_name()

            lane.register_handler("t", at_once)
            turns: list[int] = []
            asyncio.get_running_loop().call_soon(turns.append, 1)
            # It is a task of its own all the same.
            names = {await lane.submit_async("query", "t") for _ in range(10)}
            assert len(names) == 10 and turns == []

    asyncio.run(main())


def test_a_handler_has_a_task_of_its_own(run: Runner) -> None:
    async def main() -> None:
        async with Lane() as lane:

            async def limited(payload: Any) -> None:
                try:
                    await asyncio.wait_for(asyncio.sleep(60), 0.001)
                except asyncio.TimeoutError:
                    task = asyncio.current_task()
                    assert task is not None and task is not main_task
                    raise

            main_task = asyncio.current_task()
            lane.register_handler("t", limited)
            with pytest.raises(a3s_lane.CommandError, match="TimeoutError"):
                await lane.submit_async("query", "t")

    run(main())
