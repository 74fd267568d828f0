"""Dataclasses and pydantic models as payloads and results."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import inspect
import sys
import types
import typing

from a3s_lane.errors import UnrecoverableError

_Function = collections.abc.Callable[..., typing.Any]

_SCALARS: dict[type, tuple[type, ...]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
    dict: (dict,),
    list: (list,),
}


def plain(value: object) -> object:
    """What a dataclass instance or a pydantic model is made of; `None` for anything else. The compiled half calls this."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    dump = getattr(type(value), "model_dump", None)
    if dump is not None and hasattr(type(value), "model_fields"):
        return typing.cast(object, dump(value, mode="json"))
    if isinstance(value, enum.Enum):
        return typing.cast(object, value.value)
    return None


def annotation_of(function: _Function, name: str) -> object:
    """What the parameter `name` is annotated as."""
    target: typing.Any = function
    if not inspect.isroutine(target):
        target = getattr(type(target), "__call__", target)
    target = inspect.unwrap(target)
    try:
        hints = typing.get_type_hints(target)
    except Exception:
        # A name that exists only for type checkers.
        return inspect.Parameter.empty
    return hints.get(name, inspect.Parameter.empty)


def adapt(function: _Function, annotation: object, takes_context: bool) -> _Function:
    """`function` for a payload of JSON: one that is annotated as a model becomes one first."""
    read = _reader(annotation)
    if read is None:
        return function

    if takes_context:

        def with_context(payload: object, context: object) -> object:
            return function(read(payload), context)

        return with_context

    def without_context(payload: object) -> object:
        return function(read(payload))

    return without_context


def _reader(annotation: object) -> collections.abc.Callable[[object], object] | None:
    """What makes a payload what it is annotated as, where that is a model."""
    if not isinstance(annotation, type):
        return None
    if dataclasses.is_dataclass(annotation):
        return lambda payload: _build(annotation, payload, "payload")
    validate = getattr(annotation, "model_validate", None)
    if validate is None or not hasattr(annotation, "model_fields"):
        return None

    def read(payload: object) -> object:
        try:
            return validate(payload)
        except ValueError as error:
            raise UnrecoverableError(_told(error)) from error

    return read


def _told(error: ValueError) -> str:
    """The first thing that pydantic found wrong, with its place."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error)
    first = errors()[0]
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
    return f"payload{place}: {first['msg']}"


def _refused(place: str, expected: str, value: object) -> UnrecoverableError:
    return UnrecoverableError(f"{place} must be {expected}, got {type(value).__name__}")


def _build(model: type, payload: object, place: str) -> object:
    """An instance of the dataclass `model`."""
    if not isinstance(payload, dict):
        raise _refused(place, f"a dict for {model.__name__}", payload)
    hints = typing.get_type_hints(model)
    arguments: dict[str, object] = {}
    for field in dataclasses.fields(model):
        if field.name in payload:
            if field.init:
                arguments[field.name] = _convert(hints[field.name], payload[field.name], f"{place}.{field.name}")
        elif field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UnrecoverableError(f"{place}.{field.name} is missing")
    unknown = payload.keys() - {field.name for field in dataclasses.fields(model)}
    if unknown:
        raise UnrecoverableError(f"{place}.{min(unknown)} is not a field of {model.__name__}")
    return model(**arguments)


def _convert(annotation: object, value: object, place: str) -> object:
    """`value` as what it is annotated as: dataclasses, the types of JSON, and what is made of them. The rest stays as it is."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Union or (sys.version_info >= (3, 10) and origin is types.UnionType):
        return _convert_union(arguments, value, place)
    if annotation is None or annotation is type(None):
        if value is not None:
            raise _refused(place, "None", value)
        return None
    if origin in (list, tuple) or annotation is tuple:
        return _convert_items(origin or tuple, arguments, value, place)
    if origin is dict:
        if not isinstance(value, dict):
            raise _refused(place, "a dict", value)
        return {key: _convert(arguments[1], item, f"{place}[{key!r}]") for key, item in value.items()}
    if not isinstance(annotation, type):
        return value
    if dataclasses.is_dataclass(annotation):
        return _build(annotation, value, place)
    if issubclass(annotation, enum.Enum):
        try:
            return annotation(value)
        except ValueError as error:
            raise UnrecoverableError(f"{place} must be a {annotation.__name__}, got {value!r}") from error
    expected = _SCALARS.get(annotation)
    if expected is not None and (not isinstance(value, expected) or (isinstance(value, bool) and annotation is not bool)):
        raise _refused(place, f"{'an' if annotation is int else 'a'} {annotation.__name__}", value)
    return float(typing.cast(float, value)) if annotation is float else value


def _convert_union(choices: tuple[object, ...], value: object, place: str) -> object:
    problem: UnrecoverableError | None = None
    for choice in choices:
        try:
            return _convert(choice, value, place)
        except UnrecoverableError as error:
            # `X | None`: what is wrong with the X is the better answer.
            if choice is not type(None):
                problem = problem or error
    raise problem or _refused(place, "None", value)


def _convert_items(kind: object, arguments: tuple[object, ...], value: object, place: str) -> object:
    if not isinstance(value, list):
        raise _refused(place, "a list", value)
    if kind is list or not arguments or (len(arguments) == 2 and arguments[1] is Ellipsis):
        each = arguments[0] if arguments else object()
        items = [_convert(each, item, f"{place}[{index}]") for index, item in enumerate(value)]
        return items if kind is list else tuple(items)
    if len(arguments) != len(value):
        raise UnrecoverableError(f"{place} must have {len(arguments)} items, got {len(value)}")
    return tuple(_convert(each, item, f"{place}[{index}]") for index, (each, item) in enumerate(zip(arguments, value)))
