# SPDX-License-Identifier: Apache-2.0
"""Events are held to policies/schema/event.schema.json: every one that a test sees."""
import functools
import json
import pathlib

import jsonschema

SCHEMA = pathlib.Path(__file__).resolve().parents[3] / "policies" / "schema" / "event.schema.json"


def names_of(schema, node):
    """The members that an object of this node may have, whichever branch it takes."""
    names = set(node.get("properties", {}))
    if "$ref" in node:
        names |= names_of(schema, schema["$defs"][node["$ref"].rsplit("/", 1)[1]])
    return names


def close(schema, node):
    """Subscribers pass over what they do not know; a test does not: what is told is written down."""
    if isinstance(node, list):
        for one in node:
            close(schema, one)
        return
    if not isinstance(node, dict):
        return
    if "properties" in node and "required" in node:
        node["propertyNames"] = {"enum": sorted(names_of(schema, node))}
    for one in node.values():
        close(schema, one)


@functools.cache
def validator():
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    close(schema, schema)
    return jsonschema.Draft202012Validator(schema)


def check_event(event):
    """The event, if it keeps the contract."""
    wrong = list(validator().iter_errors(event))
    assert not wrong, "\n".join(f"{'.'.join(map(str, e.absolute_path))}: {e.message}"
                                for e in wrong) + f"\n{json.dumps(event)}"
    return event


def check_message(message):
    """A message of one of the agent's streams."""
    if message["subject"].split(".")[0] in ("meter", "alert", "ledger", "deny", "usage_refused"):
        check_event(message["event"])
    return message
