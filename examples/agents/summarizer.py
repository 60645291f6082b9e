"""Serves `summarizer`: one method, `run`, under a contract that the node checks before this program hears of a call.

    weft agent spawn summarizer --exec 'python3 examples/agents/summarizer.py' --grant serve:summarizer
    weft call svc:summarizer.run '{"items": [{"name": "tea"}, {"name": "milk"}]}'
    {"count":2,"first":"tea","node":"alpha"}
    weft call svc:summarizer.run '{"items": [{"name": 5}]}'
    error: the arguments break the contract of svc:summarizer.run 1.0.0: /items/0/name: 5 is not of type "string" …

Started on several nodes, each call goes to one of them.
"""

from weft_agent import Agent

CONTRACT = {
    "version": "1.0.0",
    "methods": {
        "run": {
            "input": {
                "type": "object",
                "required": ["items"],
                "additionalProperties": False,
                "properties": {
                    "items": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "required": ["name"],
                            "properties": {"name": {"type": "string"}},
                        },
                    }
                },
            },
            "output": {
                "type": "object",
                "required": ["count", "first", "node"],
                "properties": {"count": {"type": "integer"}},
            },
        }
    },
}


def serve(agent):
    # Idempotent: a restarted agent says the same once more.
    agent.request("register_service", name="summarizer", contract=CONTRACT)


def run(agent, message):
    if message["target"] != "svc:summarizer.run":
        raise ValueError(f"call svc:summarizer.run, not {message['target']}")
    names = [item["name"] for item in message["payload"]["json"]["items"]]
    return {"json": {"count": len(names), "first": names[0], "node": agent.introduction["node_name"]}}


Agent(run, started=serve).run()
