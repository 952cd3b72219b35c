#!/usr/bin/env python3
"""A model server on loopback that does what the prompt says: real agents run on it, without an account.

It speaks chat completions (pi, opencode), responses (codex) and Gemini. The last user message steers it:

    MOCK:slow=8           the reply streams for 8 seconds
    MOCK:hang=8           nothing for 8 seconds, then the reply
    MOCK:file=PATH        nothing until there is that file, then the reply
    MOCK:sleep=20         a shell tool call `sleep 20`, then a text once its result is there
    MOCK:sh=COMMAND       the same with any command (to the end of the line)
    MOCK:escalate         before MOCK:sh=: the call asks for approval by itself (codex)
    MOCK:call=TOOL JSON   any tool (or NAMESPACE.TOOL) with these arguments (to the end of the line)
    MOCK:tokens=N         claims that the prompt had N tokens
    MOCK:error=500        that HTTP status
"""

import argparse
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, TextIO, TypeAlias

Json: TypeAlias = dict[str, Any]  # three foreign wire formats, read field by field

SHELL_TOOLS = ("bash", "shell", "exec_command", "shell_command", "run_shell_command", "local_shell")


@dataclass(slots=True)
class Request:
    prompt: str = ""
    tool_result: str | None = None  # the answer to our last call, when nothing came after it
    tools: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    tool: str
    arguments: Json


@dataclass(frozen=True, slots=True)
class Reply:
    number: int
    pieces: list[str]
    pause: float = 0.0  # seconds after each piece
    call: Call | None = None
    tokens: int = 100

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def text_of(content: Any) -> str:
    match content:
        case str():
            return content
        case {"text": str(text)}:
            return text
        case list():
            return "\n".join(filter(None, map(text_of, content)))
        case _:
            return ""


def read_chat(body: Json) -> Request:
    request = Request()
    for message in body.get("messages", []):
        match message.get("role"):
            case "user":
                request.prompt, request.tool_result = text_of(message.get("content")), None
            case "tool":
                request.tool_result = text_of(message.get("content"))
    for tool in body.get("tools") or []:
        function = tool.get("function", tool)
        request.tools[function["name"]] = function.get("parameters") or {}
    return request


def read_responses(body: Json) -> Request:
    request = Request()
    given = body.get("input") or []
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else given:
        if item.get("role") == "user":
            request.prompt, request.tool_result = text_of(item.get("content")), None
        elif item.get("type", "").endswith("_call_output"):
            request.tool_result = text_of(item.get("output"))
    for tool in body.get("tools") or []:
        request.tools[tool.get("name") or tool["type"]] = tool.get("parameters") or {}
    return request


def read_gemini(body: Json) -> Request:
    request = Request()
    for content in body.get("contents", []):
        parts = content.get("parts") or []
        if answers := [part["functionResponse"] for part in parts if "functionResponse" in part]:
            request.tool_result = json.dumps(answers[-1].get("response"))
        elif content.get("role") == "user":
            request.prompt, request.tool_result = text_of(parts), None
    for tool in body.get("tools") or []:
        for function in tool.get("functionDeclarations") or []:
            schema = function.get("parameters") or function.get("parametersJsonSchema")
            request.tools[function["name"]] = schema or {}
    return request


def decide(request: Request, number: int) -> Reply:
    if request.tool_result is not None:
        if call := wait_on(request):
            return Reply(number, [], call=call)
        text = f"MOCK-DONE-{number}: the tool answered {len(request.tool_result)} characters."
        return Reply(number, [text])
    text = f"MOCK-REPLY-{number}: this is the fixed reply of the mock model."
    pieces = re.findall(r"\S+\s*", text)
    slow = number_in("slow", request.prompt)
    tokens = number_in("tokens", request.prompt) or 100
    return Reply(number, pieces, slow / len(pieces), wanted_call(request), tokens)


def number_in(directive: str, prompt: str) -> int:
    found = re.search(rf"MOCK:{directive}=(\d+)", prompt)
    return int(found.group(1)) if found else 0


def wait_for(prompt: str) -> None:
    time.sleep(number_in("hang", prompt))
    found = re.search(r"MOCK:file=(\S+)", prompt)
    while found and not Path(found.group(1)).exists():
        time.sleep(0.1)


def wanted_call(request: Request) -> Call | None:
    if found := re.search(r"MOCK:call=(\S+) (\{.*\})", request.prompt):
        return Call(found.group(1), json.loads(found.group(2)))
    if found := re.search(r"MOCK:sh=([^\n]+)", request.prompt):
        return shell_call(request, found.group(1).strip())
    if seconds := number_in("sleep", request.prompt):
        return shell_call(request, f"sleep {seconds}; echo slept")
    return None


def wait_on(request: Request) -> Call | None:
    """Codex has a tool run on after half a minute, and says so: then it is waited for anew."""
    running = re.search(r"Process running with session ID (\d+)", request.tool_result or "")
    if running is None:
        return None
    return Call("write_stdin", {"session_id": int(running.group(1)), "chars": "", "yield_time_ms": 300000})


def shell_call(request: Request, command: str) -> Call | None:
    """The agent's own shell tool, with what its schema asks for."""
    tool = next((name for name in SHELL_TOOLS if name in request.tools), None)
    if tool is None:
        return None
    known = request.tools[tool].get("properties") or {}
    listed = known.get("command", {}).get("type") == "array"
    name = "cmd" if "cmd" in known else "command"
    arguments: Json = {name: ["bash", "-lc", command] if listed else command}
    if "description" in known:
        arguments["description"] = "mock shell call"
    if "milliseconds" in known.get("timeout", {}).get("description", ""):  # opencode: two minutes by itself
        arguments["timeout"] = 3600000
    if "yield_time_ms" in known:  # codex: stay in the foreground
        arguments["yield_time_ms"] = 30000
    if "MOCK:escalate" in request.prompt and "sandbox_permissions" in known:
        arguments |= {"sandbox_permissions": "require_escalated", "justification": "mock asks for approval"}
    return Call(tool, arguments)


def chat_stream(reply: Reply) -> Iterator[Json | str]:
    base = {"id": f"chatcmpl-{reply.number}", "created": int(time.time()), "model": "mock-model"}

    def chunk(delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return {**base, "object": "chat.completion.chunk", "choices": [choice]}

    yield chunk({"role": "assistant", "content": ""})
    if reply.call:
        function = {"name": reply.call.tool, "arguments": json.dumps(reply.call.arguments)}
        call = {"index": 0, "id": f"call_{reply.number}", "type": "function", "function": function}
        yield chunk({"tool_calls": [call]})
    else:
        for piece in reply.pieces:
            yield chunk({"content": piece})
            time.sleep(reply.pause)
    yield chunk({}, "tool_calls" if reply.call else "stop")
    usage = {"prompt_tokens": reply.tokens, "completion_tokens": 20, "total_tokens": reply.tokens + 20}
    yield {**base, "object": "chat.completion.chunk", "choices": [], "usage": usage}
    yield "[DONE]"


def chat_whole(reply: Reply) -> Json:
    """Only small side requests (titles) come unstreamed: never a call."""
    choice = {"index": 0, "message": {"role": "assistant", "content": reply.text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": reply.tokens, "completion_tokens": 20, "total_tokens": reply.tokens + 20}
    head = {"id": f"chatcmpl-{reply.number}", "object": "chat.completion"}
    return {**head, "choices": [choice], "usage": usage}


def responses_item(reply: Reply) -> Json:
    if reply.call:
        namespace, _, name = reply.call.tool.rpartition(".")
        return {
            "type": "function_call", "id": f"fc_{reply.number}", "call_id": f"call_{reply.number}",
            "name": name, "arguments": json.dumps(reply.call.arguments), "status": "completed",
            **({"namespace": namespace} if namespace else {}),
        }  # fmt: skip
    part = {"type": "output_text", "text": reply.text, "annotations": []}
    head = {"type": "message", "id": f"msg_{reply.number}", "role": "assistant", "status": "completed"}
    return {**head, "content": [part]}


def responses_whole(reply: Reply) -> Json:
    usage = {
        "input_tokens": reply.tokens, "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": reply.tokens + 20,
    }  # fmt: skip
    return {
        "id": f"resp_{reply.number}", "object": "response", "status": "completed", "model": "mock-model",
        "output": [responses_item(reply)], "usage": usage,
    }  # fmt: skip


def responses_stream(reply: Reply) -> Iterator[Json]:
    item, whole = responses_item(reply), responses_whole(reply)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    if reply.call:
        yield {"type": "response.output_item.added", "output_index": 0, "item": {**item, "arguments": ""}}
    else:
        at = {"output_index": 0, "content_index": 0, "item_id": item["id"]}
        yield {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}}
        part = {"type": "output_text", "text": "", "annotations": []}
        yield {"type": "response.content_part.added", "part": part, **at}
        for piece in reply.pieces:
            yield {"type": "response.output_text.delta", "delta": piece, **at}
            time.sleep(reply.pause)
        yield {"type": "response.output_text.done", "text": reply.text, **at}
        yield {"type": "response.content_part.done", "part": item["content"][0], **at}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    yield {"type": "response.completed", "response": whole}


def gemini_part(reply: Reply, parts: list[Json], *, last: bool) -> Json:
    candidate: Json = {"index": 0, "content": {"role": "model", "parts": parts}}
    head = {"modelVersion": "mock-model", "responseId": f"r{reply.number}"}
    answer: Json = {**head, "candidates": [candidate]}
    if last:
        candidate["finishReason"] = "STOP"
        counts = {"promptTokenCount": reply.tokens, "candidatesTokenCount": 20}
        answer["usageMetadata"] = {**counts, "totalTokenCount": reply.tokens + 20}
    return answer


def gemini_stream(reply: Reply) -> Iterator[Json]:
    if reply.call:
        call = {"name": reply.call.tool, "args": reply.call.arguments, "id": f"call_{reply.number}"}
        yield gemini_part(reply, [{"functionCall": call}], last=True)
        return
    for position, piece in enumerate(reply.pieces, 1):
        yield gemini_part(reply, [{"text": piece}], last=position == len(reply.pieces))
        time.sleep(reply.pause)


Events: TypeAlias = Iterator[Json | str] | Iterator[Json]
Streamed: TypeAlias = Callable[[Reply], Events]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, log: TextIO) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.numbers = count(1)
        self._log, self._lock = log, threading.Lock()

    def note(self, record: Json) -> None:
        with self._lock:
            print(json.dumps({"time": round(time.time(), 3), **record}), file=self._log, flush=True)


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name upstream)
        pass

    def do_GET(self) -> None:
        self.server.note({"get": self.path})
        if self.path.split("?")[0].endswith("/models"):
            models = [{"id": "mock-model", "object": "model"}]
            return self._send({"object": "list", "data": models, "models": []})
        return self._send({"error": {"message": "no such path"}}, 404)

    def do_POST(self) -> None:
        body, path = json.loads(self._body() or b"{}"), self.path.split("?")[0]
        if path.endswith("/chat/completions"):
            request = read_chat(body)
        elif path.endswith("/responses"):
            request = read_responses(body)
        elif path.endswith("enerateContent"):
            request = read_gemini(body)
        elif path.endswith(":countTokens"):
            return self._send({"totalTokens": 100})
        else:
            self.server.note({"post": path, "status": 404})
            return self._send({"error": {"message": "no such path"}}, 404)
        number = next(self.server.numbers)
        reply = decide(request, number)
        call = reply.call and reply.call.tool
        self.server.note({"post": path, "number": number, "prompt": request.prompt[-2000:], "call": call,
                          "goes_on": request.tool_result is not None,
                          "tools": sorted(request.tools)})  # fmt: skip
        if status := number_in("error", request.prompt):
            return self._send({"error": {"message": "mock error", "type": "mock"}}, status)
        if request.tool_result is None:
            wait_for(request.prompt)
        try:
            self._answer(path, body, reply)
        except (BrokenPipeError, ConnectionResetError):
            self.server.note({"post": path, "gone": number})
        return None

    def _answer(self, path: str, body: Json, reply: Reply) -> None:
        if path.endswith(":generateContent"):  # side requests, some want JSON: an empty object suits them
            wants_json = "json" in str((body.get("generationConfig") or {}).get("responseMimeType"))
            text = "{}" if wants_json else reply.text
            self._send(gemini_part(reply, [{"text": text}], last=True))
        elif path.endswith(":streamGenerateContent"):
            self._stream(gemini_stream(reply))
        elif path.endswith("/responses"):
            self._either(body, responses_stream, responses_whole, reply)
        else:
            self._either(body, chat_stream, chat_whole, reply)

    def _either(self, body: Json, stream: "Streamed", whole: Callable[[Reply], Json], reply: Reply) -> None:
        if body.get("stream"):
            self._stream(stream(reply))
        else:
            self._send(whole(reply))

    def _body(self) -> bytes:
        if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        whole = b""
        while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def _send(self, answer: Json, status: int = 200) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, events: "Events") -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for number, event in enumerate(events):
            head = ""
            if isinstance(event, dict):
                if name := event.get("type"):
                    head, event = f"event: {name}\n", {**event, "sequence_number": number}
                event = json.dumps(event)
            self.wfile.write(f"{head}data: {event}\n\n".encode())
            self.wfile.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description="A model on loopback that does what the prompt says.")
    parser.add_argument("port_file", type=Path, help="the port is written here once it listens")
    parser.add_argument("log", type=Path, help="one line of JSON a request")
    arguments = parser.parse_args()
    with arguments.log.open("a") as log, Server(log) as server:
        arguments.port_file.write_text(str(server.server_address[1]))
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
