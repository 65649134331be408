# SPDX-License-Identifier: Apache-2.0
"""Reads this folder (README.md has the format): what tests/unit/corpus_fixture.h is in C."""
import json
import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent
EOL = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}


class Answer:
    def __init__(self, path):
        self.name = str(path.relative_to(HERE).with_suffix(""))
        self.want = json.loads(path.with_suffix(".json").read_text())
        head, body = path.read_bytes().split(b"\n\n", 1)
        lines = head.decode().split("\n")
        options = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# "))
        lines = [line for line in lines if not line.startswith("# ")]
        self.path = options["path"]
        self.status = int(lines[0].split()[1])
        self.headers = [tuple(line.split(": ", 1)) for line in lines[1:]]
        self.coded = any(name.lower() == "content-encoding" for name, _ in self.headers)
        self.framing = options.get("framing")
        self.bodiless = self.framing == "none"
        self.cut = int(options.get("cut", 0))
        self.body = self._body(body[:-1], options)

    @staticmethod
    def _body(body, options):
        if options.get("percent") == "yes":
            body = re.sub(rb"%([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), body)
        body = body.replace(b"\n", EOL[options.get("eol", "lf")])
        if "fill" in options:
            times, text = options["fill"].split(" ", 1)
            body = body.replace(b"@fill@", text.encode() * int(times))
        return b"\xef\xbb\xbf" * (options.get("bom") == "yes") + body


def answers():
    return {a.name: a for a in map(Answer, sorted(HERE.glob("*/*.http")))}
