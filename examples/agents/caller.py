"""Asks another agent and passes its answer on, with a note of its own. It needs a grant for the target.

    weft agent spawn caller --exec 'python3 examples/agents/caller.py' --grant 'call:wordcount*'
    weft call caller 'wordcount to be or not to be'
    {"asked": "wordcount", "answer": {"words": 6, …}, "note": "asked by caller on alpha"}
"""

import json

from weft_agent import Agent


def ask(agent, message):
    target, _, text = message["payload"].get("text", "").partition(" ")
    if not target:
        raise ValueError("say whom to ask, and what: TARGET TEXT…")
    # The same trace: `weft trace` shows both calls as one conversation.
    answered = agent.call(target, {"text": text}, trace=message["trace"], deadline_ms=message["deadline_ms"])
    reply = answered["reply"] or {}
    me = agent.introduction
    note = f"asked by {me['agent']} on {me['node_name']}"
    return {"json": {"asked": target, "answer": reply.get("text", reply.get("json")), "note": note}}


Agent(ask).run()
