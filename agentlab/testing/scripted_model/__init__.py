"""A scripted model server: it stands in for the model behind a real coding CLI, on loopback, without key, network or tokens.

It speaks just enough of four wire formats for unmodified CLIs to work against it:

    Anthropic Messages   POST /v1/messages                       Claude Code
    OpenAI Responses     POST /v1/responses                      Codex
    Gemini               POST /v1beta/models/M:generateContent   Gemini CLI (also :streamGenerateContent)
    OpenAI Chat          POST /v1/chat/completions               opencode, and most others

What the "model" does travels at the END of the prompt, so one server serves any number of agents at once and keeps
no state between their requests:

    Please do this. @do [{"write": ["a.txt", "hello"]}, {"shell": "ls"}, {"say": "done"}]

Steps:
    {"write": [path, text]}  {"read": path}  {"shell": command}   by whichever tool the CLI offers; ours before its own
    {"tool": name, "args": {...}}                                 any tool, by its full name or the end of it;
                                                                  with "exact": true by its full name, on offer or not
    {"say": text}                                                 a text; it ends the turn, as does the end of the steps
    {"error": http_status, "say": text}                           the request fails
and on each, optionally, "delay": seconds to keep the client waiting in the middle of the answer.

    with ScriptedModel() as model:
        run(["claude", "-p", prompt], env={"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "dummy"})
        assert model.seen[-1].tools == ("mcp__lab__read", "mcp__lab__write")

From the shell: `python -m agentlab.testing.scripted_model --port 8399`.
"""

from .script import CACHED, INPUT, OUTPUT
from .server import ScriptedModel, Seen, make_app

__all__ = ["CACHED", "INPUT", "OUTPUT", "ScriptedModel", "Seen", "make_app"]
