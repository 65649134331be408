# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 over a socket at hand, with nothing hidden: what tests use where the
SDK would retry, pool or tidy up. Not a general client."""
import json
import socket


class Response:
    """An answer, read as far as asked for."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""
        self.status, self.headers = 0, {}

    def _more(self):
        data = self.sock.recv(65536)
        self.buffer += data
        return bool(data)

    def _until(self, mark):
        while mark not in self.buffer:
            if not self._more():
                raise ConnectionError(f"the connection ended early, after {self.buffer[:200]!r}")
        part, self.buffer = self.buffer.split(mark, 1)
        return part

    def read_head(self):
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        for line in lines[1:]:
            name, value = line.split(":", 1)
            self.headers[name.lower()] = value.strip()
        return self

    def chunks(self):
        """The body's pieces as they come."""
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self._until(b"\r\n").split(b";")[0], 16):
                while len(self.buffer) < size + 2:
                    if not self._more():
                        raise ConnectionError("the connection ended inside a chunk")
                yield self.buffer[:size]
                self.buffer = self.buffer[size + 2:]
            self._until(b"\r\n")
        elif "content-length" in self.headers:
            left = int(self.headers["content-length"])
            while left:
                if not self.buffer and not self._more():
                    raise ConnectionError(f"the connection ended {left} bytes early")
                part, self.buffer = self.buffer[:left], self.buffer[left:]
                left -= len(part)
                yield part
        else:
            while self.buffer or self._more():
                part, self.buffer = self.buffer, b""
                yield part

    def body(self):
        return b"".join(self.chunks())

    def json(self):
        return json.loads(self.body())


def head(method, path, key=None, length=None, extra=()):
    lines = [f"{method} {path} HTTP/1.1", "Host: model.test"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    if length is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {length}"]
    lines += extra
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def send(sock, method, path, key=None, body=None, extra=()):
    """Send a request, head and body in one write; the answer's head is read."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    sock.sendall(head(method, path, key, None if body is None else len(data), extra) + data)
    return Response(sock).read_head()


def chat_body(tokens=4, prompt="one two three", stream=False, include_usage=False,
              model="llama-3.3-70b-instruct", **metadata):
    body = {"model": model, "max_tokens": tokens,
            "messages": [{"role": "user", "content": prompt}]}
    if stream:
        body["stream"] = True
        if include_usage:
            body["stream_options"] = {"include_usage": True}
    if metadata:
        body["metadata"] = {k: str(v) for k, v in metadata.items()}
    return body


def shut(sock):
    """Close with a RST, as a killed client does."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()
