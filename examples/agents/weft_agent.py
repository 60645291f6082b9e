"""An agent of weft in Python, on the standard library alone.

The node starts the agent as a child process and talks to it in JSON-RPC 2.0, one message per line: on stdin come
`initialize`, `message`, `cancel`, `published`, `health` and `signal`, on stdout go the answers and the agent's own requests.
Both directions are concurrent. What is printed to stderr ends up in the agent's log.

    from weft_agent import Agent, Refused

    def answer(agent, message):                     # runs in a thread of its own
        return {"text": message["payload"]["text"].upper()}

    Agent(answer).run()
"""

import json
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor


class Refused(Exception):
    """The node or the other agent said no. `code` is stable, `changed` says whether the message may have had an effect."""

    def __init__(self, error):
        super().__init__(error.get("message", "refused"))
        data = error.get("data") or {}
        self.code, self.changed, self.retry = data.get("code"), data.get("changed", True), data.get("retry", False)


class Agent:
    """`answer(agent, message)` gets each message and returns a payload, or None; what it raises is the agent's error.
    `published(agent, publication)` and `signalled(agent, signal)` get what they are named after.
    `health(probe)` says how the agent is when the node probes it: None, or {state, reason}. `started(agent)` is called once,
    when the agent may ask the node for something. `cancelled(agent, id)` gets the id of a message whose answer nobody waits for
    any more."""

    def __init__(self, answer, published=None, signalled=None, health=lambda probe: None, started=None, cancelled=None):
        self.answer, self.published, self.signalled = answer, published, signalled
        self.health, self.started, self.cancelled = health, started, cancelled
        self.introduction = {}  # what `initialize` said: node, agent, process, grants
        self._open, self._parts, self._last_id, self._lock = {}, {}, 0, threading.Lock()
        self._workers = ThreadPoolExecutor(max_workers=64)  # the node keeps at most 64 messages open
        self._hearing = ThreadPoolExecutor(max_workers=1)  # signals one after the other

    def run(self):
        """Serves until the node says shutdown or closes stdin."""
        for line in sys.stdin:
            frame = json.loads(line)
            method, params = frame.get("method"), frame.get("params")
            if method is None:
                self._answered(frame)
            elif method == "initialize":
                self.introduction = params
                self._write({"id": frame["id"], "result": {"name": params["agent"], "version": "1"}})
                if self.started:
                    self._workers.submit(self.started, self)
            elif method == "message":
                self._workers.submit(self._handle, frame["id"], params)
            elif method == "health":
                self._write({"id": frame["id"], "result": self.health(params["probe"])})
            elif method == "cancel" and self.cancelled:
                self._workers.submit(self.cancelled, self, params["id"])
            elif method == "part" and params["id"] in self._parts:
                self._parts[params["id"]](params["payload"])
            elif method == "published" and self.published:
                self._workers.submit(self.published, self, params)
            elif method == "signal" and params["signal"] == "shutdown":
                break
            elif method == "signal":
                self._hearing.submit(self.signal, params)
        self._hearing.shutdown()  # what was told before the shutdown is heard
        self._workers.shutdown(wait=False, cancel_futures=True)

    def signal(self, params):
        """Gets every signal but shutdown: `params["signal"]` is its name, `from` who sent it unless it was the node."""
        if self.signalled:
            self.signalled(self, params)

    def call(self, target, payload, trace=None, deadline_ms=5000):
        """Asks another agent and returns {reply, trace, node, …}. Pass the `trace` of the message that led to it."""
        return self.request("call", target=target, payload=payload, trace=trace, deadline_ms=deadline_ms)

    def stream(self, message, part):
        """Says a part of the answer to a message whose caller takes parts (`message.get("parts")`). Returns when there is room
        for the next one."""
        return self.request("stream", id=message["id"], part=part)

    def call_in_parts(self, target, payload, each, trace=None, deadline_ms=5000):
        """Asks another agent; `each(payload)` gets each part of the answer as it comes, and must not ask the node itself."""
        params = {"target": target, "payload": payload, "trace": trace, "deadline_ms": deadline_ms, "parts": True}
        return self.request("call", each=each, **params)

    def request(self, method, each=None, **params):
        """Any request to the node: call, send, publish, subscribe, unsubscribe, log. Raises Refused."""
        answered = Future()
        with self._lock:
            self._last_id += 1
            request_id = self._last_id
            self._open[request_id] = answered
            if each:
                self._parts[request_id] = each
        given = {name: value for name, value in params.items() if value is not None}
        self._write({"id": request_id, "method": method, "params": given})
        return answered.result()

    def _handle(self, request_id, message):
        try:
            self._write({"id": request_id, "result": self.answer(self, message)})
        except Exception as error:  # whatever went wrong is the answer
            self._write({"id": request_id, "error": {"code": 1, "message": f"{type(error).__name__}: {error}"}})

    def _answered(self, frame):
        with self._lock:
            self._parts.pop(frame.get("id"), None)
            answered = self._open.pop(frame.get("id"), None)
        if answered and "error" in frame:
            answered.set_exception(Refused(frame["error"]))
        elif answered:
            answered.set_result(frame["result"])

    def _write(self, frame):
        line = json.dumps({"jsonrpc": "2.0", **frame})
        with self._lock:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
