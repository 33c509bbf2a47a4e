#!/usr/bin/env python3
"""A hook for `peerage run`: a program of yours that hears what happens in the node, and steers it.

Put this into the node's configuration file, and start the node with `peerage run --config node.toml`:

    [hooks]
    program = ["python3", "/path/to/examples/hook.py", "--publish", "status", "--every", "600"]
    topics = ["status"]

The node starts the program, and starts it again when it ends. What it does here:

* answers the questions `uptime` and `load` of other nodes (`peerage ask load`), and no others;
* welcomes each new peer with a text;
* with --publish TOPIC, says on that topic every now and then how the node is;
* bans for a day whoever breaks the protocol again and again (--strikes).

Events come as lines of JSON on stdin; `{"event": "peer-up", "peer": {…}}` and so on. Commands are
lines of JSON on stdout, and each gets a line on stdin that says what came of it: `{"reply": TAG,
"ok": {…}}` or `{"reply": TAG, "error": {"code": …, "message": …}}`. What is written to stderr goes to
the node's log. When stdin ends, the node wants the program to end. Standard library only.
"""

import argparse
import collections
import json
import os
import sys
import threading
import time

DAY = 24 * 3600
REMEMBERED = 4096  # nodes and offenders that are remembered, at most

started = time.monotonic()
peers = set()  # who is connected
stdout = threading.Lock()  # two threads write


def main():
    parser = argparse.ArgumentParser(description="A hook for `peerage run`.")
    parser.add_argument("--publish", metavar="TOPIC", help="say on this topic how the node is")
    parser.add_argument("--every", metavar="SECONDS", type=float, default=600)
    parser.add_argument("--strikes", metavar="N", type=int, default=3,
                        help="ban who breaks the protocol so often (default: %(default)s)")
    args = parser.parse_args()

    greeter, judge = Greeter(), Judge(args.strikes)
    if args.publish:
        threading.Thread(target=publish, args=(args.publish, args.every), daemon=True).start()
    # Always read on: a hook that leaves its stdin unread for a minute is killed. Whatever takes its
    # time belongs in a thread.
    for line in sys.stdin:
        message = json.loads(line)
        match message.get("event"):
            case "inquiry":
                answer(message)
            case "peer-up":
                peers.add(message["peer"]["id"])
                greeter.welcome(message["peer"]["id"])
            case "peer-down":
                peers.discard(message["peer"]["id"])
            case "decision":
                judge.hear(message["entry"])
            case "missed":
                # Who came and went meanwhile is not known: a hook that must know can ask the API.
                log(f"missed {message.get('count', 'some')} events")
            case None if "error" in message:
                error = message["error"]
                log(f"{message['reply']}: {error['message']} ({error['code']})")
            # Events that a later version may have, and replies to what was done, are passed over.


def answer(inquiry):
    """Says something to the question of another node, before its asker has stopped waiting."""
    match inquiry["text"].strip().lower():
        case "uptime":
            said = {"text": f"{time.monotonic() - started:.0f} s"}
        case "load":
            said = {"text": " ".join(f"{load:.2f}" for load in os.getloadavg())}
        case _:
            said = {"refuse": "unknown-question"}
    tell("answer", inquiry=inquiry["inquiry"], **said)


def publish(topic, every):
    """Says how the node is, for ever."""
    while True:
        load = os.getloadavg()[0]
        tell("publish", topic=topic, text=f"{len(peers)} peers, load {load:.2f}")
        time.sleep(every)


class Greeter:
    """Welcomes every node once."""

    def __init__(self):
        self.greeted = collections.OrderedDict()

    def welcome(self, node):
        if node not in self.greeted:
            remember(self.greeted, node, True)
            tell("send", to=node, text="Welcome! Ask me for `uptime` or `load`.")


class Judge:
    """Bans whoever breaks the protocol too often. (The node itself discourages them for an hour.)"""

    def __init__(self, strikes):
        self.strikes = strikes
        self.counts = collections.OrderedDict()

    def hear(self, decision):
        if decision["kind"] != "discouraged":
            return
        culprit = decision["detail"]  # an id if it is proven, otherwise an IP address or subnet
        strikes = self.counts.pop(culprit, 0) + 1
        if strikes < self.strikes:
            remember(self.counts, culprit, strikes)
            return
        log(f"banning {culprit}: {decision['reason']}, the last of {strikes} times")
        tell("ban", target=culprit, seconds=DAY, note=f"hook: {decision['reason']}")


def remember(things, key, value):
    things[key] = value
    while len(things) > REMEMBERED:
        things.popitem(last=False)


def tell(command, **what):
    """Has the node do something. The tag comes back with the answer; here it says what that was about."""
    line = json.dumps({"command": command, "tag": command, **what})
    with stdout:
        print(line, flush=True)


def log(text):
    """Writes a line to the node's log."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
