"""What is wrong with a document, said by key: msgspec's messages, led by the place and completed with what would be right."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import inspect

_ANY = "..."  # stands in msgspec's paths for any key of a dict
LENGTH = 'a number above 0 such as 128, or a distribution such as {distribution = "uniform", low = 16, high = 128}'


def explain(error: str, document: object, kind: type, convert: Callable[[object], object]) -> str:
    """msgspec's `error` on converting `document` to `kind`, in the words of the file; `convert` tries a part of it again."""
    message, _, path = error.partition(" - at `$")
    keys = _named(re.findall(r"\.([^.\[\]]+)|\[([^\]]+)\]", path.rstrip("`")), error, document, convert)
    place, nodes = _spelled(keys), _nodes(inspect.type_info(kind), keys, document)
    lead = f"{place}." if place else ""
    if "missing required field" in message:
        missing = message.split("`")[1]
        return f"{lead}{missing}: missing, and needed{_choices(nodes, missing)}"
    if "unknown field" in message:
        known = ", ".join(sorted(_fields(nodes)))
        return f"{lead}{message.split('`')[1]}: unknown key; known here: {known}"
    value = _at(document, keys)
    if _is_length(nodes) and not isinstance(value, dict):
        if value == 0:  # what `bench workloads new` writes
            return f"{place}: 0 keeps the place of a length that only you can choose: {LENGTH}"
        return f"{place}: expected {LENGTH}, got {value!r}"
    if message.startswith("Invalid"):
        above = _nodes(inspect.type_info(kind), keys[:-1], document, tagged=False)
        message += _choices(above, keys[-1][0] or keys[-1][1]) or _choices(nodes, "")
    message = message.replace("`object`", "a table").replace("`array`", "a list")
    return f"{place}: {message}" if place else message


Key = tuple[str, str]  # (field, "") or ("", index or dict key)


def _named(keys: list[Key], error: str, document: object, convert: Callable[[object], object]) -> list[Key]:
    """The path with each key of a dict by its name: the first whose value alone is refused with the same words."""
    for n, key in enumerate(keys):
        table = _at(document, keys[:n])
        if key != ("", _ANY) or not isinstance(table, dict):
            continue
        for name in table:
            try:
                convert(_only(document, keys[:n], name))
            except msgspec.ValidationError as other:
                if str(other) == error:
                    return _named([*keys[:n], ("", name), *keys[n + 1 :]], error, document, convert)
    return keys


def _only(document: Any, keys: list[Key], name: str) -> Any:
    """The document with nothing but `name` in the table at `keys`."""
    if not keys:
        return {name: document[name]}
    if isinstance(document, list):
        at = int(keys[0][1])
        return [*document[:at], _only(document[at], keys[1:], name), *document[at + 1 :]]
    key = keys[0][0] or keys[0][1]
    return document | {key: _only(document[key], keys[1:], name)}


def _spelled(keys: list[Key]) -> str:
    parts = [f"[{index}]" if index.isdigit() else f".{field or index.replace(_ANY, '*')}" for field, index in keys]
    return "".join(parts).lstrip(".")


def _at(document: Any, keys: list[Key]) -> Any:
    for field, index in keys:
        try:
            document = document[field or (int(index) if isinstance(document, list) else index)]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return document


def _nodes(node: Any, keys: list[Key], document: Any, tagged: bool = True) -> list[Any]:
    """What may stand at a place of the document; of tables told apart by a tag, the one whose tag is there where `tagged`."""
    nodes = _alternatives(node)
    for n, (field, _) in enumerate(keys):
        nodes = _tagged(nodes, _at(document, keys[:n]))
        below = []
        for above in nodes:
            if isinstance(above, inspect.StructType):
                below += [f.type for f in above.fields if f.encode_name == field]
            elif isinstance(above, inspect.DictType):
                below.append(above.value_type)
            elif isinstance(above, inspect.VarTupleType):
                below.append(above.item_type)
        nodes = [alternative for node in below for alternative in _alternatives(node)]
    return _tagged(nodes, _at(document, keys)) if tagged else nodes


def _alternatives(node: Any) -> list[Any]:
    return list(node.types) if isinstance(node, inspect.UnionType) else [node]


def _tagged(nodes: list[Any], value: Any) -> list[Any]:
    if not isinstance(value, dict):
        return nodes
    matching = [n for n in nodes if isinstance(n, inspect.StructType) and n.tag_field and value.get(n.tag_field) == n.tag]
    return matching or nodes


def _fields(nodes: list[Any]) -> set[str]:
    structs = [n for n in nodes if isinstance(n, inspect.StructType)]
    return {f.encode_name for n in structs for f in n.fields} | {str(n.tag_field) for n in structs if n.tag_field}


def _choices(nodes: list[Any], key: str) -> str:
    """`; expected a, b or c` where only some words may stand: the tags of tables, or a choice."""
    words = [str(n.tag) for n in nodes if isinstance(n, inspect.StructType) and n.tag_field == key]
    words += [str(v) for n in nodes if isinstance(n, inspect.LiteralType) for v in n.values]
    if key == "distribution" and words:
        words.append("csv")  # which a workload file may have, and which is a distribution of values when it has been read
    return f"; expected {', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else ""


def _is_length(nodes: list[Any]) -> bool:
    return any(isinstance(n, inspect.StructType) and n.tag_field == "distribution" for n in nodes)
