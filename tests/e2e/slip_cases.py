# SPDX-License-Identifier: Apache-2.0
"""The table of test_slip.py: a row of bpf/forms.md each, as bytes. `reads` is how
Weir reads them: the requests it judges, in order, or lets through as free. A
server that reads anything else has been slipped a request."""
import dataclasses
import json

from weirlab.raw_http import chat_body
from weirlab.wire import ANSWER

CHAT, INNER = "/v1/chat/completions", "/v1/smuggled"
KEY, OTHER = "sk-acme", "sk-other"
BODY = json.dumps(chat_body(3)).encode()


@dataclasses.dataclass(frozen=True)
class Read:
    method: str = "POST"
    target: str = CHAT
    key: str = KEY
    body: bytes = BODY
    free: bool = False


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    parts: tuple
    reads: tuple = ()
    counts: dict = dataclasses.field(default_factory=dict)  # verdicts that must go up, by how many
    status: int = 0  # of the refusal, 0: none
    closed: bool = False  # by Weir, both ends, without words
    only: tuple = ()  # stacks that it is for; all if empty


CASES = []


def case(name, *parts, **fields):
    CASES.append(Case(name, parts, **fields))


def admitted(name, *parts, reads=(Read(),), **fields):
    case(name, *parts, reads=tuple(reads), **fields)


def free(name, *parts, method="GET", target="/health", body=b"", key=""):
    case(name, *parts, reads=(Read(method, target, key, body, free=True),))


def refused(name, *parts, reason="malformed", status=400, reads=()):
    case(name, *parts, reads=tuple(reads), counts={reason: 1}, status=status)


def closed(name, *parts, verdict, reads=(Read(),)):
    """Counted at least once: the peer may send again what fell."""
    case(name, *parts, reads=tuple(reads), counts={verdict: 1}, closed=True)


def raw(name, *parts, verdict):
    case(name, *parts, counts={verdict: 1})


def head(*lines, first=f"POST {CHAT} HTTP/1.1", key=KEY, length=None, eol=b"\r\n"):
    """A head of these lines; str or bytes."""
    whole = [first, "Host: model.test"]
    if key:
        whole.append(f"Authorization: Bearer {key}")
    if length is not None:
        whole.append(f"Content-Length: {length}")
    whole += lines
    return b"".join((line if isinstance(line, bytes) else line.encode("latin-1")) + eol
                    for line in whole) + eol


def post(*lines, body=BODY, **fields):
    return head(*lines, length=len(body), **fields) + body


def get(target, *lines, method="GET", version="1.1", **fields):
    return head(*lines, first=f"{method} {target} HTTP/{version}", **{"key": "", **fields})


def chunked(*lines, body=b"", key=KEY, **fields):
    return head("Transfer-Encoding: chunked", *lines, key=key, **fields) + body


def chunks(data=BODY, size=1 << 20, extension=b"", trailers=b""):
    parts = [data[i:i + size] for i in range(0, len(data), size)]
    return b"".join(b"%x%s\r\n%s\r\n" % (len(p), extension, p) for p in parts) + \
        b"0\r\n" + trailers + b"\r\n"


def cut(data, *at):
    places = [0, *at, len(data)]
    return [data[a:b] for a, b in zip(places, places[1:])]


SMUGGLED = head(first=f"POST {INNER} HTTP/1.1", key=OTHER, length=2) + b"{}"
INSIDE = Read(body=SMUGGLED)
NEXT = get("/next", key=KEY)
READ_NEXT = Read("GET", "/next", KEY, b"")

# ------------------------------------------------------------------ the head

admitted("plain", post())
admitted("line ends: LF", post(eol=b"\n"))
admitted("line ends: LF, then CR LF for the last", head(length=len(BODY), eol=b"\n")[:-1] +
         b"\r\n" + BODY)
admitted("line ends: CR LF, then LF for the last", head(length=len(BODY))[:-2] + b"\n" + BODY)
admitted("CR LF in front", b"\r\n\r\n" + post())
admitted("LF in front", b"\n\n" + post())
admitted("CR LF in front, apart", b"\r\n", post(),
         only=("httptools", "nginx", "node"))  # h11 says 400 to the first part, if it comes alone
for what, line in (("bare CR in a value", "X-A: a\rX-B: b"), ("CR CR LF", "X-A: a\r"),
                   ("NUL in a value", "X-A: a\0b"), ("NUL in a name", "X\0A: b"),
                   ("VT in a value", "X-A: \x0b1"), ("FF before the colon", "X-A\x0c: 1"),
                   ("ESC in a value", "X-A: \x1b[m"), ("TAB in a name", "X\tA: 1"),
                   ("blank before the colon", "X-A : 1"), ("TAB before the colon", "X-A\t: 1"),
                   ("line without colon", "X-A"), ("empty name", ": 1"),
                   ("obs-fold", "X-A: 1\r\n more"), ("obs-fold with TAB", "X-A: 1\r\n\tmore"),
                   ("blank before the colon of Content-Length", "Content-Length : 5"),
                   ("CR LF inside Authorization, folded", "X-A: 1\r\n Authorization: Bearer x")):
    refused(what, post(line))
refused("bare CR ends the head", post().replace(b"\r\n\r\n", b"\r\r"))
refused("obs-fold before all headers", post(first=f"POST {CHAT} HTTP/1.1\r\n X-A: 1"))
refused("Content-Length folded", head("Content-Length:\r\n 5") + BODY[:5])
refused("Transfer-Encoding folded", head("Transfer-Encoding:\r\n chunked") + chunks())
for what, first in (("NUL in the target", "POST /v1/\0 HTTP/1.1"),
                    ("TAB in the request line", f"POST {CHAT}\tHTTP/1.1"),
                    ("TAB after the method", f"POST\t{CHAT} HTTP/1.1"),
                    ("HTTP/0.9", f"GET {CHAT}"), ("HTTP/2.0", f"POST {CHAT} HTTP/2.0"),
                    ("HTTP/1.2", f"POST {CHAT} HTTP/1.2"), ("HTTP/1", f"POST {CHAT} HTTP/1"),
                    ("HTTP/01.1", f"POST {CHAT} HTTP/01.1"),
                    ("HTTP/1.1 and a blank", f"POST {CHAT} HTTP/1.1 "),
                    ("http/1.1", f"POST {CHAT} http/1.1"), ("no target", "POST HTTP/1.1"),
                    ("method of 25", "A" * 25 + f" {CHAT} HTTP/1.1"),
                    ("method that is no token", f"PO(ST {CHAT} HTTP/1.1")):
    refused(what, post(first=first))
for what, first, method, target in (
        ("absolute target", f"POST http://model.test{CHAT} HTTP/1.1", "POST",
         f"http://model.test{CHAT}"),
        ("two blanks", f"POST  {CHAT} HTTP/1.1", "POST", CHAT),
        ("blank in the target", f"POST {CHAT} x HTTP/1.1", "POST", f"{CHAT} x"),
        ("target //", f"POST /{CHAT} HTTP/1.1", "POST", f"/{CHAT}"),
        ("target with a fragment", f"POST {CHAT}#x HTTP/1.1", "POST", f"{CHAT}#x"),
        ("target above 7f", f"POST {CHAT}/\xff HTTP/1.1", "POST", f"{CHAT}/\xff"),
        ("target DEL", f"POST {CHAT}/\x7f HTTP/1.1", "POST", f"{CHAT}/\x7f")):
    admitted(what, post(first=first.encode("latin-1")), reads=[Read(method, target)])
for what, line in (("TABs around a value", "X-A:\t1\t"), ("value above 7f", "X-A: \xff"),
                   ("DEL in a value", "X-A: \x7f"), ("name above 7f", "X-\xff: 1"),
                   ("name with a parenthesis", "X(A: 1"), ("empty value", "X-A:"),
                   ("Content_Length", "Content_Length: 5"),
                   ("Content-Length( with a parenthesis", "Content-Length(: 5"),
                   ("Transfer_Encoding", "Transfer_Encoding: chunked"),
                   ("X-Transfer-Encoding", "X-Transfer-Encoding: chunked"),
                   ("Connection: close", "Connection: close"),
                   ("Connection: content-length", "Connection: content-length"),
                   ("method override", f"X-HTTP-Method-Override: GET")):
    admitted(what, post(line))
admitted("no blank after the colon", head(f"Content-Length:{len(BODY)}") + BODY)
admitted("blanks around Content-Length", head(f"Content-Length:   {len(BODY)}  ") + BODY)
admitted("TAB before Content-Length", head(f"Content-Length:\t{len(BODY)}") + BODY)
refused("TAB after Content-Length", head(f"Content-Length: {len(BODY)}\t") + BODY)
admitted("zeros before Content-Length", head(f"Content-Length: 000{len(BODY)}") + BODY)
admitted("TAB before the key", post(f"Authorization:\tBearer {KEY}", key=""))
refused("TAB after the key", post(f"Authorization: Bearer {KEY}\t", key=""), reason="unknown_key",
        status=401)
admitted("method in lower case", get(CHAT, method="get", key=KEY), reads=[Read("get", body=b"")])
refused("method in lower case, with a body", post(first=f"post {CHAT} HTTP/1.1"))
admitted("names in capitals", head(f"CONTENT-LENGTH: {len(BODY)}") + BODY)
admitted("method of 24", get(CHAT, method="A" * 24, key=KEY), reads=[Read("A" * 24, body=b"")])
admitted("method with an odd token", get(CHAT, method="M-SEARCH", key=KEY),
         reads=[Read("M-SEARCH", body=b"")])

# Where the body ends, said in a way that servers could read differently.
for what, lines in (
        ("two Content-Length, equal", ["Content-Length: 5", "Content-Length: 5"]),
        ("two Content-Length", ["Content-Length: 5", "Content-Length: 6"]),
        ("two Content-Length, 0 first", ["Content-Length: 0", "Content-Length: 5"]),
        ("Content-Length list", ["Content-Length: 5, 5"]),
        ("Content-Length +5", ["Content-Length: +5"]),
        ("Content-Length -1", ["Content-Length: -1"]),
        ("Content-Length 0x5", ["Content-Length: 0x5"]),
        ("Content-Length 5_0", ["Content-Length: 5_0"]),
        ("Content-Length 5 5", ["Content-Length: 5 5"]),
        ("Content-Length 5;", ["Content-Length: 5;"]),
        ("Content-Length 5.0", ["Content-Length: 5.0"]),
        ("Content-Length empty", ["Content-Length:"]),
        ("Content-Length superscript", ["Content-Length: \xb2"]),
        ("Content-Length of 19 digits", ["Content-Length: 0000000000000000005"]),
        ("Content-Length that wraps 64 bits", ["Content-Length: 18446744073709551621"]),
        ("Content-Length above 2^30", ["Content-Length: 1073741825"]),
        ("Content-Length and chunked", ["Content-Length: 5", "Transfer-Encoding: chunked"]),
        ("chunked and Content-Length", ["Transfer-Encoding: chunked", "Content-Length: 5"]),
        ("two chunked", ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"]),
        ("chunked twice in one", ["Transfer-Encoding: chunked, chunked"]),
        ("gzip, chunked", ["Transfer-Encoding: gzip, chunked"]),
        ("chunked, identity", ["Transfer-Encoding: chunked, identity"]),
        ("identity", ["Transfer-Encoding: identity"]),
        ("identity and Content-Length", ["Transfer-Encoding: identity", "Content-Length: 5"]),
        ("xchunked", ["Transfer-Encoding: xchunked"]),
        ("chunked;q=1", ["Transfer-Encoding: chunked;q=1"]),
        ("\"chunked\"", ["Transfer-Encoding: \"chunked\""]),
        ("Transfer-Encoding empty", ["Transfer-Encoding:"]),
        ("Transfer-Encoding empty and Content-Length", ["Transfer-Encoding:",
                                                        "Content-Length: 5"])):
    refused(what, head(*lines) + b"0\r\n\r\n" + SMUGGLED)
refused("chunked in HTTP/1.0", chunked(first=f"POST {CHAT} HTTP/1.0") + chunks(b"{}"))
admitted("Chunked", head("Transfer-Encoding: ChunkeD") + chunks())
admitted("chunked, with blanks", head("Transfer-Encoding:  chunked  ") + chunks())
admitted("chunked, after a TAB", head("Transfer-Encoding:\tchunked") + chunks())
refused("chunked, before a TAB", head("Transfer-Encoding: chunked\t") + chunks())
admitted("neither length nor chunked: no body", head(), reads=[Read(body=b"")])
admitted("Content-Length 0", post(body=b""), reads=[Read(body=b"")])
for method in ("GET", "HEAD", "OPTIONS", "TRACE", "FOO"):  # cpp-httplib takes it for a request
    refused(f"{method} with a body", get(CHAT, method=method, key=KEY, length=2) + b"{}")
    refused(f"{method}, chunked", get(CHAT, "Transfer-Encoding: chunked", method=method, key=KEY) +
            chunks(b"{}"))
admitted("DELETE with a chunked body", get(CHAT, "Transfer-Encoding: chunked", method="DELETE",
                                           key=KEY) + chunks(b"{}"),
         reads=[Read("DELETE", CHAT, KEY, b"{}")])

# Whose it is.
for name in ("Authorization", "x-api-key", "api-key", "x-weir-tenant"):
    refused(f"two {name}", post(f"{name}: Bearer {OTHER}", f"{name}: Bearer {KEY}", key=""))
admitted("x-api-key", post(f"x-api-key: {KEY}", key=""))
admitted("X-API-KEY", post(f"X-API-KEY: {KEY}", key=""))
admitted("bearer", post(f"Authorization: bearer {KEY}", key=""))
admitted("not Bearer, and x-api-key", post("Authorization: Basic eA==", f"x-api-key: {KEY}", key=""),
         reads=[Read(key="eA==")])
refused("not Bearer", post("Authorization: Basic eA==", key=""), reason="no_tenant", status=401)
refused("no key", post(key=""), reason="no_tenant", status=401)
refused("unknown key", post(key="sk-nobody"), reason="unknown_key", status=401)
refused("key of 248", post(key="k" * 248), reason="unknown_key", status=401)
refused("x-weir-tenant of one who is not trusted", post("x-weir-tenant: acme", key=""),
        reason="no_tenant", status=401)
admitted("all kinds of key", post(f"api-key: {OTHER}", f"x-api-key: {OTHER}"))

# How long.
JWT = "eyJhbGciOiJSUzI1NiJ9." + "a1B2" * 300
admitted("250 lines", post(*[f"X-{n}: {n}" for n in range(245)]))
refused("260 lines", post(*[f"X-{n}: {n}" for n in range(256)]), reason="head_too_large",
        status=431)
admitted("15 KiB of cookie", post("Cookie: s=" + "c" * 15000))
admitted("7 KiB of cookie and a JWT", post("Cookie: s=" + "c" * 7000, f"X-Id-Token: {JWT}"))
LONGEST = 16384 - len(head("Cookie: ", length=len(BODY)))
admitted("16384 bytes", post("Cookie: " + "c" * LONGEST))
refused("16385 bytes", post("Cookie: " + "c" * (LONGEST + 1)), reason="head_too_large", status=431)
refused("20 KiB", post("Cookie: " + "c" * 20000), reason="head_too_large", status=431)
refused("20 KiB in parts", *cut(post("Cookie: " + "c" * 20000), 100, 9000, 15000),
        reason="head_too_large", status=431)

# Other protocols.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
             "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
refused("websocket", get("/v1/realtime", *WEBSOCKET, key=KEY), reason="protocol", status=403)
refused("h2c, websocket", get(CHAT, "Connection: Upgrade", "Upgrade: h2c, websocket", key=KEY),
        reason="protocol", status=403)
refused("CONNECT", get("model.test:443", method="CONNECT", key=KEY), reason="protocol", status=403)
refused("h2c preface", PREFACE + bytes(9), reason="protocol", status=403)
admitted("Upgrade: h2c", post(*H2C))
admitted("Upgrade: h2c, no body", get(CHAT, *H2C, key=KEY), reads=[Read("GET", body=b"")])
closed("Upgrade: h2c, and a request behind", get(CHAT, *H2C, key=KEY) + SMUGGLED,
       verdict="drop_pipelined", reads=())
HELLO = bytes.fromhex("16030100a5010000a10303") + bytes(154)
raw("TLS hello", HELLO, verdict="pass_tls")
raw("TLS hello, then a request", HELLO, SMUGGLED, verdict="pass_tls")
raw("TLS, a line's end, then a request", b"\x16\x03\r\n\r\n", SMUGGLED, verdict="pass_tls")
for what, byte in (("NUL", b"\0"), ("blank", b" "), ("TAB", b"\t"), ("VT", b"\x0b"),
                   ("{", b"{"), ("quote", b'"'), ("ff", b"\xff"), ("NBSP", b"\xa0"),
                   ("BOM", b"\xef\xbb\xbf"), ("DEL", b"\x7f")):
    refused(f"first byte {what}", byte + SMUGGLED)
    refused(f"first byte {what} on a line", byte + b"\r\n\r\n", SMUGGLED)
refused("CR LF, then a blank", b"\r\n " + SMUGGLED)

# -------------------------------------------------------------------- free

for target in ("/health", "/health?x=1", "/healthz", "/metrics", "/v1/models", "/ping", "/version",
               "/v1/models?limit=1", "/health/a/b.c"):
    free(f"GET {target}", get(target), target=target)
free("HEAD /v1/models", get("/v1/models", method="HEAD"), method="HEAD", target="/v1/models")
free("OPTIONS", get(CHAT, method="OPTIONS"), method="OPTIONS", target=CHAT)
free("OPTIONS *", get("*", method="OPTIONS"), method="OPTIONS", target="*")
free("GET /health, HTTP/1.0", get("/health", version="1.0"))
refused("GET /health with a body", get("/health", length=len(SMUGGLED)) + SMUGGLED)
refused("GET /health with a body, apart", get("/health", length=len(SMUGGLED)), SMUGGLED)
refused("GET /health, chunked", get("/health", "Transfer-Encoding: chunked") + chunks(SMUGGLED))
for first in ("POST /health", "GET /health/../v1/chat", "GET /health/..", "GET /health%2f..",
              "GET /health//x", "GET //health", "GET /v1/models/../chat",
              "GET /v1/modelsx", "GET /", "get /health", "GET http://model.test/health",
              "GET /%68ealth", "GET /Health", "GET /./health", "GET /health" + "x" * 120,
              "GET /v1/chat/health", "PUT /v1/models", "GET /health\\..\\v1 x"):
    refused(f"not free: {first[:40]}", get(first.split(" ", 1)[1], method=first.split(" ", 1)[0]),
            reason="no_tenant", status=401)
case("free, then one that is judged", get("/health"), ANSWER, post(),
     reads=(Read("GET", "/health", "", b"", free=True), Read()))
closed("free, and a request behind", get("/health") + SMUGGLED, verdict="drop_pipelined",
       reads=())
closed("OPTIONS, and a request behind", get(CHAT, method="OPTIONS") + SMUGGLED,
       verdict="drop_pipelined", reads=())
case("free, then a refused one", get("/health"), ANSWER, SMUGGLED.replace(OTHER.encode(), b"sk-nobody"),
     reads=(Read("GET", "/health", "", b"", free=True),), counts={"unknown_key": 1}, status=401)

# --------------------------------------------------------------- the stream

for name, parts in (("head and body apart", cut(post(), len(post()) - len(BODY))),
                    ("first byte apart", cut(post(), 1)),
                    ("cut in the request line", cut(post(), 11)),
                    ("cut inside a name", cut(post(), post().index(b"Authoriz") + 5)),
                    ("cut inside the key", cut(post(), post().index(KEY.encode()) + 4)),
                    ("cut inside Content-Length's digits",
                     cut(post(), post().index(b"\r\n\r\n") - 1)),
                    ("cut between CR and LF", cut(post(), post().index(b"\r\n") + 1)),
                    ("cut in the empty line", cut(post(), post().index(b"\r\n\r\n") + 2)),
                    ("cut in the empty line, after its CR",
                     cut(post(), post().index(b"\r\n\r\n") + 3)),
                    ("7 bytes a segment", cut(post(), *range(7, len(post()) - 60, 7))),
                    ("16 KiB, 1 KiB a segment",
                     cut(post("Cookie: " + "c" * LONGEST), *range(1024, 16384, 1024)))):
    admitted(name, *parts)
refused("refused in its last part", *cut(post("X-A : 1"), 30, 60))
refused("two Content-Length, in parts", head("Content-Length: 5")[:-2],
        b"Content-Length: 6\r\n\r\nhello" + SMUGGLED)
refused("unknown key, in parts", *cut(post(key="sk-nobody"), 10, 50), reason="unknown_key",
        status=401)
admitted("body like a request", post(body=SMUGGLED), reads=[INSIDE])
admitted("body like a request, apart", post(body=SMUGGLED)[:-len(SMUGGLED)], SMUGGLED,
         reads=[INSIDE])
admitted("body like a request, each line apart", head(length=len(SMUGGLED)),
         *[line + b"\r\n" for line in SMUGGLED.split(b"\r\n")[:-1]], b"{}", reads=[INSIDE])
admitted("body like two requests", head(length=2 * len(SMUGGLED)), SMUGGLED, SMUGGLED,
         reads=[Read(body=2 * SMUGGLED)])
LONG = json.dumps(chat_body(3, prompt="word " * 100000)).encode()
admitted("500 KB of body", post(body=LONG), reads=[Read(body=LONG)])
admitted("kept alive", post(), ANSWER, post(), ANSWER, post(), ANSWER, NEXT,
         reads=[Read(), Read(), Read(), READ_NEXT])
admitted("kept alive, keys by turns", post(), ANSWER, post(key=OTHER), ANSWER, post(),
         reads=[Read(), Read(key=OTHER), Read()])
admitted("kept alive, CR LF between", post() + b"\r\n", ANSWER, b"\r\n" + post(),
         reads=[Read(), Read()], only=("httptools", "nginx", "node"))  # h11 says 400 and closes
admitted("kept alive, heads in parts", *cut(post(), 40, 90), ANSWER, *cut(post(), 40, 90),
         reads=[Read(), Read()])
admitted("no length, then a request", head(), ANSWER, NEXT, reads=[Read(body=b""), READ_NEXT])
refused("kept alive, then refused", post(), ANSWER, post("X-A : 1"), reads=[Read()])
# In one segment with what is behind it, the request itself does not pass either.
closed("pipelined", post() + SMUGGLED, reads=(), verdict="drop_pipelined")
closed("pipelined behind no body", head() + SMUGGLED, verdict="drop_pipelined",
       reads=())
closed("pipelined behind GET", get(CHAT, key=KEY) + SMUGGLED, verdict="drop_pipelined",
       reads=())
closed("pipelined behind Connection: close", post("Connection: close") + SMUGGLED,
       reads=(), verdict="drop_pipelined")
closed("pipelined behind HTTP/1.0", post(first=f"POST {CHAT} HTTP/1.0") + SMUGGLED,
       reads=(), verdict="drop_pipelined")
closed("pipelined, CR LF between", post() + b"\r\n" + SMUGGLED, reads=(), verdict="drop_pipelined")
closed("pipelined rubbish", post() + b"\0\0\0", reads=(), verdict="drop_pipelined")
closed("Content-Length too short by one", head(length=len(BODY) - 1) + BODY,
       verdict="drop_pipelined", reads=())
admitted("HTTP/1.0", post(first=f"POST {CHAT} HTTP/1.0"))
admitted("HTTP/1.0, kept alive", post("Connection: keep-alive", first=f"POST {CHAT} HTTP/1.0"))
admitted("Expect: 100-continue", *cut(post("Expect: 100-continue"), -len(BODY)))
admitted("Expect: 100-continue, in one", post("Expect: 100-continue"))
admitted("Expect: 100-continue, chunked", chunked("Expect: 100-continue"), chunks())

EARLY = f"POST /v1/early HTTP/1.1"
for what, parts in (("its length", [head(first=EARLY, length=len(SMUGGLED))]),
                    ("Expect", [head("Expect: 100-continue", first=EARLY, length=len(SMUGGLED))])):
    case(f"answered before its body, with {what}", *parts, ANSWER, SMUGGLED,
         reads=(Read("POST", "/v1/early", KEY, None),))
case("answered before its body, chunked", chunked(first=EARLY), ANSWER,
     b"%x\r\n" % len(SMUGGLED), SMUGGLED, b"\r\n0\r\n\r\n",
     reads=(Read("POST", "/v1/early", KEY, None),))

# ------------------------------------------------------------ chunked bodies

admitted("chunked in one", chunked(body=chunks()))
admitted("chunked, 10 a chunk", chunked(body=chunks(size=10)))
admitted("chunked, a segment a chunk", chunked(), *[b"%x\r\n%s\r\n" % (len(p), p) for p in
                                                    cut(BODY, 20, 60)], b"0\r\n\r\n")
admitted("chunked, 3 bytes a segment", chunked(), *cut(chunks(size=30), *range(3, 120, 3)))
admitted("chunk like a request", chunked(body=chunks(SMUGGLED)), reads=[INSIDE])
admitted("chunk like a request, apart", chunked(), b"%x\r\n" % len(SMUGGLED), SMUGGLED,
         b"\r\n0\r\n\r\n", reads=[INSIDE])
admitted("chunk extension", chunked(body=chunks(extension=b";a=b;c=\"d e\"")))
admitted("chunk size in capitals, with zeros", chunked(body=b"00%X\r\n%s\r\n000\r\n\r\n" %
                                                       (len(BODY), BODY)))
admitted("chunk size of 12 digits", chunked(body=b"%012x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)))
admitted("trailers", chunked("Trailer: X-Sum", body=chunks(trailers=b"X-Sum: 1\r\nX-More: 2\r\n")))
admitted("trailers with a key and a length",
         chunked(body=chunks(trailers=b"Authorization: Bearer " + OTHER.encode() +
                             b"\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n")))
admitted("chunked, kept alive", chunked(body=chunks()), ANSWER, chunked(body=chunks(size=9)),
         ANSWER, NEXT, reads=[Read(), Read(), READ_NEXT])
closed("pipelined behind chunks", chunked(body=chunks() + SMUGGLED), verdict="drop_pipelined")
closed("pipelined behind trailers", chunked(body=chunks(trailers=b"X-A: 1\r\n") + SMUGGLED),
       verdict="drop_pipelined")
for what, size in (("0x", b"0x5"), ("+", b"+5"), ("-", b"-5"), ("blank before", b" 5"),
                   ("nothing", b""), ("_", b"5_0"), ("g", b"g"), ("13 digits", b"0000000000005"),
                   ("17 digits", b"10000000000000005"), ("16 digits", b"ffffffffffffffff"),
                   ("NUL", b"5\0"), ("CR in extension", b"5;a\rb"),
                   ("NUL in extension", b"5;a\0b"), ("LF in extension", b"5;a\nb"),
                   ("LF instead of CR LF", b"5\n" + b"hello"[:0]), ("CR alone", b"5\r")):
    end = b"" if what == "LF instead of CR LF" else b"" if what == "CR alone" else b"\r\n"
    closed(f"chunk size: {what}", chunked(), size + end + b"hello\r\n0\r\n\r\n" + SMUGGLED,
           verdict="drop_bad_chunk", reads=[Read(body=None)])
closed("chunk longer than its size", chunked(), b"5\r\nhello!\r\n0\r\n\r\n" + SMUGGLED,
       verdict="drop_bad_chunk", reads=[Read(body=None)])
closed("chunk data ends with LF", chunked(), b"5\r\nhello\n0\r\n\r\n" + SMUGGLED,
       verdict="drop_bad_chunk", reads=[Read(body=None)])
closed("chunk data ends with CR CR", chunked(), b"5\r\nhello\r\r0\r\n\r\n" + SMUGGLED,
       verdict="drop_bad_chunk", reads=[Read(body=None)])
closed("last chunk ends with LF", chunked(), b"5\r\nhello\r\n0\n\n" + SMUGGLED,
       verdict="drop_bad_chunk", reads=[Read(body=None)])
closed("trailer ends with LF", chunked(), b"5\r\nhello\r\n0\r\nX-A: 1\n\r\n" + SMUGGLED,
       verdict="drop_bad_chunk", reads=[Read(body=None)])
closed("trailer with a bare CR", chunked(), b"5\r\nhello\r\n0\r\nX-A: 1\rX\r\n\r\n" + SMUGGLED,
       verdict="drop_bad_chunk", reads=[Read(body=None)])
closed("broken in the segment of the head", chunked(body=b"zz\r\nhello\r\n0\r\n\r\n" + SMUGGLED),
       verdict="drop_bad_chunk", reads=[Read(body=None)])
admitted("blank after chunk size", chunked(), b"5 \r\nhello\r\n0\r\n\r\n", reads=[Read(body=b"hello")])
admitted("TAB after chunk size", chunked(), b"5\t\r\nhello\r\n0\r\n\r\n", reads=[Read(body=b"hello")])
admitted("blank before an extension", chunked(), b"5 ;a=b\r\nhello\r\n0\r\n\r\n",
         reads=[Read(body=b"hello")])

assert len({c.name for c in CASES}) == len(CASES), "two cases of one name"
