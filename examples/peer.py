#!/usr/bin/env python3
"""A small peerage peer: joins a running node and prints every line it hears.

    python3 examples/peer.py 127.0.0.1:5999
    python3 examples/peer.py 127.0.0.1:5999 --listen 127.0.0.1:6000

It answers ping and getaddr, and says bye on Ctrl-C or SIGTERM. With --listen others can dial it:
the node proves that address and tells it to them; it then stays until it is stopped, otherwise
until the node has gone. Standard library only; the protocol is docs/PROTOCOL.md.
"""

import argparse
import contextlib
import json
import signal
import socket
import threading
import uuid

ME = str(uuid.uuid4())
known = {}  # the addresses that others told, each with the id of the node said to be there
sessions = {}  # the open connections, each with its thread


def main():
    parser = argparse.ArgumentParser(description="A small peerage peer.")
    parser.add_argument("node", metavar="HOST:PORT", help="a running node to join")
    parser.add_argument("--listen", metavar="HOST:PORT", help="where others can dial this peer")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the same as Ctrl-C

    show(f"I am {ME}")
    own = stay = None
    if args.listen:
        family = socket.AF_INET6 if args.listen.startswith("[") else socket.AF_INET
        listener = socket.create_server(split(args.listen), family=family)
        own = f"{args.listen.rpartition(':')[0]}:{listener.getsockname()[1]}"
        show(f"listening on {own}")
        stay = start(accept, listener, own)
    with contextlib.suppress(KeyboardInterrupt):
        joined = start(session, None, own, args.node)
        (stay or joined).join()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    for sock, thread in list(sessions.items()):
        with contextlib.suppress(OSError):
            say(sock, "bye", reason="shutdown")
        thread.join(timeout=1)  # the other side closes when it has read the bye


def start(work, *args):
    thread = threading.Thread(target=work, args=args, daemon=True)
    thread.start()
    return thread


def accept(listener, own):
    while True:
        sock, _ = listener.accept()
        start(session, sock, own, None)


def session(sock, own, node):
    """One connection: one that was accepted, or one to a node."""
    try:
        sock = sock or socket.create_connection(split(node))
        sessions[sock] = threading.current_thread()
        converse(sock, own, dialled=node is not None)
    except OSError as error:
        show(f"no connection: {error}")
    except Exception as error:  # a line that is not what it should be
        with contextlib.suppress(OSError):
            say(sock, "bye", reason="protocol", detail=repr(error)[:100])
    finally:
        if sessions.pop(sock, None):
            sock.close()


def converse(sock, own, dialled):
    """From hello to bye. Who dialled speaks first, the other answers."""
    sock.settimeout(5)  # a hello comes soon or never
    if dialled:
        say(sock, "hello", nodeid=ME, agent="peer.py/1", listen=own)
    greeted = False
    for message in messages(sock):
        what = message["msgtype"]
        if what == "bye":
            return
        if what == "hello" and not greeted:
            greeted = True
            sock.settimeout(None)
            if not dialled:
                say(sock, "hello", nodeid=ME, agent="peer.py/1", listen=own)
            if message.get("feeler"):
                continue  # it only wants to see who answers here, and closes
            if own:
                say(sock, "addr", peers=[[own, ME]])
            say(sock, "getaddr")
        elif not greeted or what == "hello":
            raise ValueError("the first line, and no other, is hello")
        elif what == "ping":
            say(sock, "pong")
        elif what == "getaddr":
            say(sock, "addr", peers=list(known.items())[:100])
        elif what == "addr":
            for entry in message["peers"]:
                addr, node = (entry, None) if isinstance(entry, str) else entry
                if len(known) < 1000:
                    known[addr] = node


def messages(sock):
    who = "{}:{}".format(*sock.getpeername())
    with sock.makefile("rb") as stream:
        while line := stream.readline(64 * 1024 + 2):
            if line.strip(b"\r\n"):
                message = json.loads(line)
                show(f"{who} {json.dumps(message)}")
                yield message


def say(sock, msgtype, **fields):
    sock.sendall(json.dumps({"msgtype": msgtype, **fields}).encode() + b"\n")


def split(text):
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def show(text):
    print(text + "\n", end="", flush=True)


main()
