"""The server of zeta, spoken to by the Python client of the protocol (mcp 2.3.0), in both eras.

    mcp_python.py ZETA DIR

DIR is an empty directory. Each line of the output is a check: "ok NAME  SEEN" or "FAILED NAME  SEEN".
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

from mcp import Client, StdioServerParameters

ZETA, DIR = sys.argv[1], sys.argv[2]
FAILED = []
STATELESS = "2026-07-28"


def check(name, good, seen=""):
    seen = " ".join(str(seen).split())[:100]
    print("ok" if good else "FAILED", f"{name}  {seen}", flush=True)
    if not good:
        FAILED.append(name)


def server():
    # The client passes on hardly any variable by itself.
    ours = {key: os.environ[key] for key in ["HOME", "ZETA_STATE_DIR", "ZETA_BUS_DIR"]}
    return StdioServerParameters(
        command=ZETA, args=["mcp"], env=ours, cwd=os.path.join(DIR, "repo")
    )


def text(result):
    return result.content[0].text


def schema():
    out = subprocess.run([ZETA, "schema", "mcp"], capture_output=True, text=True, check=True)
    return json.loads(out.stdout)


def fits(result, known):
    """A small part of JSON Schema: required keys, closed objects, words."""
    found = result.meta["zeta/answer"]
    words = known["properties"]["outcome"]["enum"]
    return found["outcome"] in words and all(key in known["properties"] for key in found)


async def talk(mode):
    known, progress = schema(), []

    async def heard(done, total, message):
        progress.append(message)

    started = time.monotonic()
    async with Client(server(), mode=mode) as one, Client(server(), mode=mode) as two:
        check(f"{mode}: connected", True, f"{time.monotonic() - started:.3f} s")
        check(f"{mode}: version", one.protocol_version, one.protocol_version)
        # A client that is told the version asks for no discovery, and gets no instructions.
        said = one.instructions or ("" if mode != STATELESS else "acquire")
        check(f"{mode}: instructions", "acquire" in said, said)
        tools = (await one.list_tools()).tools
        check(f"{mode}: tools", len(tools) == 8, [tool.name for tool in tools])
        granted = await one.call_tool("acquire", {"name": "deploy", "purpose": "a test"})
        check(f"{mode}: granted", not granted.is_error, text(granted))
        check(f"{mode}: structure", fits(granted, known), granted.meta["zeta/answer"])
        held = await two.call_tool("acquire", {"name": "deploy"})
        name = granted.meta["zeta/answer"]["agent"]
        check(f"{mode}: refused by name", held.is_error and name in text(held), text(held))
        check(f"{mode}: structure of a refusal", fits(held, known), held.meta["zeta/answer"])
        claimed = await one.call_tool("claim", {"paths": ["src/**"]})
        check(f"{mode}: claim", not claimed.is_error, text(claimed))
        taken = await two.call_tool("claim", {"paths": ["src/a.rs"]})
        check(f"{mode}: claim refused", taken.is_error and name in text(taken), text(taken))
        waits = await two.call_tool(
            "acquire", {"name": "deploy", "wait_s": 2}, progress_callback=heard
        )
        check(f"{mode}: waiting", waits.meta["zeta/answer"]["outcome"] == "waiting", text(waits))
        check(f"{mode}: progress", progress and name in progress[0], progress)
        try:
            await two.call_tool("acquire", {"name": "deploy", "wait_s": 45}, read_timeout_seconds=1)
            check(f"{mode}: cancelled", False)
        except Exception as error:
            check(f"{mode}: cancelled", True, error)
        sent = await one.call_tool("send", {"to": held.meta["zeta/answer"]["agent"], "text": "hi"})
        check(f"{mode}: sent", not sent.is_error, text(sent))
        read = await two.call_tool("inbox", {})
        check(f"{mode}: read", "  | hi" in text(read), text(read))
        state = await one.read_resource("zeta://state")
        leases = json.loads(state.contents[0].text)["nodes"][0]["leases"]
        check(f"{mode}: resource", leases, [lease["lease"] for lease in leases])
        await subscribed(mode, one, two)
        for tool, arguments in [("release", {"name": "deploy"}), ("unclaim", {"paths": ["src/**"]})]:
            done = await one.call_tool(tool, arguments)
            check(f"{mode}: {tool}", not done.is_error, text(done))
        unknown = "no answer"
        try:
            unknown = await one.call_tool("nosuch", {})
        except Exception as error:
            unknown = error
        check(f"{mode}: unknown tool", "nosuch" in str(unknown), unknown)


async def subscribed(mode, one, two):
    """A change of the state reaches a client that listens."""
    if mode == "legacy":
        await one.subscribe_resource("zeta://state")
        check(f"{mode}: subscribed", True)
        return
    async with one.listen(resource_subscriptions=["zeta://state"]) as changes:
        await two.call_tool("acquire", {"name": "other"})
        async with asyncio.timeout(5):
            async for change in changes:
                check(f"{mode}: change is told", True, change)
                break
        await two.call_tool("release", {"name": "other"})


async def hold(in_a_call):
    """What a client does that is killed then."""
    async with Client(server(), mode="auto") as client:
        await client.call_tool("acquire", {"name": "killed"})
        print("ready", flush=True)
        if in_a_call:
            await client.call_tool("acquire", {"name": "never", "wait_s": 45})
        await asyncio.sleep(60)


def killed(in_a_call):
    """Kills a client, and measures until its lease is another's."""
    never = subprocess.run(
        [ZETA, "lease", "acquire", "never", "--as", "ann"], capture_output=True, text=True
    ).stdout.strip()
    word = "call" if in_a_call else "idle"
    client = subprocess.Popen(
        [sys.executable, __file__, ZETA, DIR, word], stdout=subprocess.PIPE, text=True
    )
    client.stdout.readline()
    time.sleep(0.5)
    waiter = subprocess.Popen(
        [ZETA, "lease", "acquire", "killed", "--wait", "20s", "--as", "bob"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    time.sleep(0.3)
    started = time.monotonic()
    client.send_signal(signal.SIGKILL)
    token = waiter.communicate()[0].strip()
    took = time.monotonic() - started
    client.wait()
    check(f"killed {word}: its lease is another's", token and took < 5, f"{took * 1000:.0f} ms")
    for lease, number in [("killed", token), ("never", never)]:
        subprocess.run([ZETA, "lease", "release", lease, "--token", number], check=False)


def main():
    os.environ.update(
        HOME=DIR, ZETA_STATE_DIR=os.path.join(DIR, "state"), ZETA_BUS_DIR=os.path.join(DIR, "bus")
    )
    if len(sys.argv) > 3:
        return asyncio.run(hold(sys.argv[3] == "call"))
    os.makedirs(os.path.join(DIR, "repo", ".git"), exist_ok=True)
    for mode in ["legacy", STATELESS, "auto"]:
        asyncio.run(talk(mode))
    for in_a_call in [False, True]:
        killed(in_a_call)
    return len(FAILED)


if __name__ == "__main__":
    sys.exit(min(main() or 0, 1))
