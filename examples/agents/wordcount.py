"""Counts the words, lines and characters of a text.

    weft agent spawn wordcount --exec 'python3 examples/agents/wordcount.py'
    weft call wordcount 'to be or not to be'        {"words": 6, "lines": 1, "characters": 18}
"""

from weft_agent import Agent


def count(_agent, message):
    text = message["payload"].get("text")
    if text is None:
        raise ValueError("only a text has words")
    return {"json": {"words": len(text.split()), "lines": len(text.splitlines()), "characters": len(text)}}


Agent(count).run()
