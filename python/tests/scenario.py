"""Plays one scenario of tests/scenarios against this package.

The tables are shared with the other languages. What this player does not know is an error, so that no step and no
expectation is skipped in silence. A wrong argument that this package refuses by itself, with `ValueError`, counts as
`CONFIG_ERROR`.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from a3s_lane import CommandHandle, Lane, LaneError, Leftover, QueueStats
from a3s_lane.testing import (
    ManualClock,
    SubmissionLog,
    drain_now,
)
from conftest import LIMIT_SECS, wait_until
from scenario_bodies import Bodies, Result
from scenario_events import Recorder, check_events
from scenario_settings import Table, lane_config, lane_of, limiter, only, secs, submit_options


def subset_holds(stats: QueueStats, expected: Table) -> bool:
    only("stats", expected, "total_pending", "total_active", "dead_letter_count", "lanes")
    totals = {name: value for name, value in expected.items() if name != "lanes"}
    if any(getattr(stats, name) != value for name, value in totals.items()):
        return False
    found = {status.lane_id: status for status in stats.lanes}
    names = {"pending": "pending", "active": "active", "min": "min_concurrency", "max": "max_concurrency"}
    return all(
        getattr(found[lane_id], names[name]) == value
        for lane_id, status in expected.get("lanes", {}).items()
        for name, value in only(f"stats of {lane_id}", status, *names).items()
    )


def types_of(left: list[Leftover]) -> list[str]:
    return [command.command_type for command in left]


def contains(got: Any, expected: Any) -> bool:
    """Whether `got` has everything that is expected: all fields of a dict, and as many items of a list."""
    if isinstance(got, dict) and isinstance(expected, dict):
        return all(name in got and contains(got[name], value) for name, value in expected.items())
    if isinstance(got, list) and isinstance(expected, list):
        return len(got) == len(expected) and all(map(contains, got, expected))
    # True is not 1.
    return type(got) is type(expected) and got == expected


class Background:
    """Runs `call` in a thread of its own, which nobody waits for in vain."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=call, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        self._thread.join(LIMIT_SECS)
        assert not self._thread.is_alive(), "the wait did not end"


class Player:
    """The steps, one method each."""

    def __init__(self, bodies: Bodies, clock: ManualClock | None, log: SubmissionLog) -> None:
        self.lane = bodies.lane
        self.bodies = bodies
        self.clock = clock
        self.log = log
        self.submitted: dict[str, Result | CommandHandle] = {}
        self.names: dict[str, str] = {}
        """The names of commands with handles, by their ids."""

    def step(self, step: Table) -> None:
        assert len(step) == 1, f"a step has one name: {step}"
        ((name, fields),) = step.items()
        play = getattr(self, f"_{name}", None)
        assert play is not None, f"unknown step {name!r}"
        play(fields)

    def _start(self, fields: Table) -> None:
        only("start", fields)
        self.lane.start()

    def _shutdown(self, fields: Table) -> None:
        only("shutdown", fields)
        self.lane.shutdown()

    def _shutdown_within(self, fields: Table) -> None:
        only("shutdown_within", fields, "timeout_ms", "pending", "stopped")
        report = self.lane.shutdown_within(secs(fields["timeout_ms"]))
        pending, stopped = fields.get("pending", []), fields.get("stopped", [])
        assert types_of(report.pending) == pending
        assert sorted(types_of(report.stopped)) == sorted(stopped)
        assert report.is_clean == (not pending and not stopped)

    def _submit(self, fields: Table) -> None:
        only("submit", fields, "as", "lane", "script", "options", "joins", "error")
        name, script = fields["as"], fields.get("script", [[]])
        self._check_name(name)
        options = fields.get("options")

        def submit() -> None:
            if options is None:
                assert "joins" not in fields, "joins needs options"
                self.submitted[name] = self.bodies.submit(fields["lane"], name, script)
            else:
                handle = self.bodies.enqueue(fields["lane"], name, script, submit_options(options))
                self._keep(fields, options, handle)

        self._expect(fields, submit)

    def _submit_many(self, fields: Table) -> None:
        only("submit_many", fields, "lane", "commands")
        commands = fields["commands"]
        for one in commands:
            only("command", one, "as", "script", "options", "joins", "error")
        answers: list[CommandHandle | LaneError] = []
        try:
            answers += self._send(fields["lane"], commands)
        except ValueError as error:
            # Nothing was submitted: the others go without the wrong one.
            found = re.match(r"commands\[(\d+)\]", str(error))
            assert found, error
            wrong = commands[int(found[1])]
            assert wrong["error"] == "CONFIG_ERROR", error
            commands = [one for one in commands if one is not wrong]
            answers += self._send(fields["lane"], commands)
        assert len(answers) == len(commands)
        for one, answer in zip(commands, answers):
            self._check_name(one["as"])
            if isinstance(answer, LaneError):
                assert answer.code == one.get("error"), f"{one['as']} was refused: {answer}"
            else:
                assert one.get("error") is None, f"{one['as']} was accepted"
                self._keep(one, one.get("options", {}), answer)

    def _send(self, lane_id: str, commands: list[Table]) -> list[CommandHandle | LaneError]:
        return self.bodies.submit_many(
            lane_id,
            [(one["as"], one.get("script", [[]]), submit_options(one.get("options", {}))) for one in commands],
        )

    def _check_name(self, name: str) -> None:
        assert name not in self.submitted, f"two commands are called {name}"

    def _keep(self, fields: Table, options: Table, handle: CommandHandle) -> None:
        owner = self.names.get(handle.id)
        assert owner == fields.get("joins"), f"the handle is that of {owner}"
        if owner is None:
            assert options.get("id") in (None, handle.id)
            self.names[handle.id] = fields["as"]
        self.submitted[fields["as"]] = handle

    def _handle(self, fields: Table) -> CommandHandle:
        handle = self.submitted[fields["as"]]
        assert isinstance(handle, CommandHandle), f"{fields['as']} was submitted without options"
        return handle

    def _echo(self, fields: Table) -> None:
        only("echo", fields, "lane", "type", "payload", "error")

        def echo() -> None:
            assert self.lane.submit(fields["lane"], fields["type"], fields["payload"]) == fields["payload"]

        self._expect(fields, echo)

    def _await(self, fields: Table) -> None:
        only("await", fields, "as", "ok", "error")
        assert ("ok" in fields) != (fields.get("error") is not None), "await needs either ok or error"
        result = self.submitted[fields["as"]]

        def wait() -> None:
            value = result.result(LIMIT_SECS)
            assert value == fields["ok"], f"{fields['as']} returned {value!r}"

        self._expect(fields, wait)

    def _cancel(self, fields: Table) -> None:
        if "as" in fields:
            only("cancel", fields, "as", "found")
            assert self.lane.cancel(self._handle(fields).id) == fields.get("found", True)
        elif "lane" in fields:
            only("cancel", fields, "lane", "count")
            assert self.lane.cancel_lane(fields["lane"]) == fields["count"]
        else:
            only("cancel", fields, "key", "count")
            assert self.lane.cancel_key(fields["key"]) == fields["count"]

    def _pause(self, fields: Table) -> None:
        if "lane" in only("pause", fields, "lane", "key"):
            self.lane.pause_lane(fields["lane"])
        else:
            self.lane.pause_key(fields["key"])

    def _resume(self, fields: Table) -> None:
        if "lane" in only("resume", fields, "lane", "key"):
            self.lane.resume_lane(fields["lane"])
        else:
            self.lane.resume_key(fields["key"])

    def _set_lane(self, fields: Table) -> None:
        table = {name: value for name, value in fields.items() if name != "error"}
        self._expect(fields, lambda: self.lane.set_lane(lane_config(table)))

    def _remove_lane(self, fields: Table) -> None:
        only("remove_lane", fields, "id", "error")
        self._expect(fields, lambda: self.lane.remove_lane(fields["id"]))

    def _set_max_concurrency(self, fields: Table) -> None:
        only("set_max_concurrency", fields, "total", "error")
        self._expect(fields, lambda: self.lane.set_max_concurrency(fields["total"]))

    def _set_limiter(self, fields: Table) -> None:
        table = {name: value for name, value in fields.items() if name not in ("name", "error")}
        self._expect(fields, lambda: self.lane.set_limiter(fields["name"], limiter(table)))

    def _explain(self, fields: Table) -> None:
        only("explain", fields, "as", "reasons", "none")
        assert ("reasons" in fields) != fields.get("none", False), "explain needs either reasons or none"
        handle = self._handle(fields)

        def holds() -> bool:
            explanation = handle.explain()
            if explanation is None or "reasons" not in fields:
                return explanation is None and "reasons" not in fields
            found, named = {reason["reason"]: reason for reason in explanation["reasons"]}, set()
            for reason in fields["reasons"]:
                table = {"reason": reason} if isinstance(reason, str) else reason
                named.add(table["reason"])
                if not contains(found.get(table["reason"]), table):
                    return False
            return found.keys() == named

        wait_until(holds)

    def _status(self, fields: Table) -> None:
        only("status", fields, "as", "is", "now")
        handle = self._handle(fields)
        if fields.get("now", False):
            assert handle.status == fields["is"]
        wait_until(lambda: handle.status == fields["is"])

    def _chunks(self, fields: Table) -> None:
        only("chunks", fields, "as", "are")
        handle = self._handle(fields)
        values: list[Any] = []
        Background(lambda: values.extend(chunk.value for chunk in handle.chunks())).finish()
        assert values == fields["are"]

    def _progress(self, fields: Table) -> None:
        only("progress", fields, "as", "is")
        handle = self._handle(fields)
        values: list[Any] = []

        def read() -> None:
            for value in handle.progress():
                values.append(value)

        Background(read)
        wait_until(lambda: values[-1:] == [fields["is"]])

    def _snapshot(self, fields: Table) -> None:
        wait_until(lambda: contains(self.lane.snapshot(), fields))

    def _submitted(self, fields: Table) -> None:
        only("submitted", fields, "lane", "type", "payload", "found")
        if not fields.get("found", True):
            self.log.assert_not_submitted(fields["lane"], fields["type"])
            return
        submitted = self.log.assert_submitted(fields["lane"], fields["type"])
        assert (submitted.lane_id, submitted.command_type) == (fields["lane"], fields["type"])
        assert "payload" not in fields or submitted.payload == fields["payload"]

    def _advance_ms(self, milliseconds: int) -> None:
        assert self.clock is not None, "the clock is not manual"
        self.clock.advance(secs(milliseconds))

    def _drain_now(self, fields: Table) -> None:
        only("drain_now", fields, "left")
        assert drain_now(self.lane) == fields["left"]

    def _sleep_ms(self, milliseconds: int) -> None:
        time.sleep(secs(milliseconds))

    def _drain(self, fields: Table) -> None:
        only("drain", fields, "timeout_ms", "error")
        self._expect(fields, lambda: self.lane.drain(secs(fields["timeout_ms"])))

    def _stats(self, fields: Table) -> None:
        wait_until(lambda: subset_holds(self.lane.stats(), fields))

    @staticmethod
    def _expect(fields: Table, act: Any) -> None:
        if fields.get("error") is None:
            act()
            return
        with pytest.raises((LaneError, ValueError)) as caught:
            act()
        code = caught.value.code if isinstance(caught.value, LaneError) else "CONFIG_ERROR"
        assert code == fields["error"], caught.value


FIELDS = ("name", "about", "lanes", "dlq_size", "max_concurrency", "limiters", "clock", "inline", "steps", "events")


def play(scenario: Table, written: type[Bodies] = Bodies) -> None:
    """Plays all steps with bodies that are written this way, then checks the events."""
    only("scenario", scenario, *FIELDS)
    assert scenario.get("clock", "manual") == "manual"
    clock = ManualClock() if "clock" in scenario else None
    log = SubmissionLog()
    lane = lane_of(scenario, clock, log)
    expected = scenario.get("events") or {}
    # Everything, to know commands by name; and what the scenario asks for.
    everything = Recorder(lane.subscribe())
    keys = expected.get("keys")
    chosen = Recorder(lane.subscribe() if keys is None else lane.subscribe_filtered(keys))
    player = Player(written(lane), clock, log)
    for step in scenario["steps"]:
        player.step(step)
    # Only the end of a stream proves that nothing else comes.
    lane.start()
    lane.shutdown()
    heard, wanted = everything.finish(), chosen.finish()
    if not any("shutdown" in step or "shutdown_within" in step for step in scenario["steps"]):
        heard, wanted = (
            [event for event in events if not event.kind.startswith("shutdown.")] for events in (heard, wanted)
        )
    check_events(expected, player.names, heard, wanted)
