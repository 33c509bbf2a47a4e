#!/usr/bin/env python3
"""A small peerage peer: joins a running node and prints every line it hears.

    python3 examples/peer.py 127.0.0.1:5999
    python3 examples/peer.py 127.0.0.1:5999 --listen 127.0.0.1:6000
    python3 examples/peer.py 127.0.0.1:5999 put notes colour green
    python3 examples/peer.py 127.0.0.1:5999 get notes col

It answers ping and getaddr, and says bye on Ctrl-C or SIGTERM. With --listen others can dial it:
the node proves that address and tells it to them; it then stays until it is stopped, otherwise
until the node has gone. Told to put, get or delete shared data, it does so, and quits when it has
the answer. Standard library only; the protocol is docs/PROTOCOL.md.
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
    usage = "get SPACE [PREFIX], put SPACE KEY VALUE, or del SPACE KEY"
    parser.add_argument("what", nargs="*", help=usage)
    args = parser.parse_args()
    try:
        question = asked(*args.what) if args.what else None
    except (TypeError, ValueError):
        parser.error(f"say {usage}")
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
        joined = start(session, None, own, args.node, question)
        (stay or joined).join()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    for sock, thread in list(sessions.items()):
        with contextlib.suppress(OSError):
            say(sock, "bye", reason="shutdown")
        thread.join(timeout=1)  # the other side closes when it has read the bye


def asked(verb, space, key=None, value=None):
    """What is asked of the node's shared data: the msgtype, and the fields."""
    if verb == "get" and value is None:
        return "get_data", {"space": space, "prefix": key}
    if verb == "put" and value is not None:
        return "update_data", {"space": space, "key": key, "value": value}
    if verb == "del" and key is not None and value is None:
        return "update_data", {"space": space, "key": key, "delete": True}
    raise ValueError(verb)


def start(work, *args):
    thread = threading.Thread(target=work, args=args, daemon=True)
    thread.start()
    return thread


def accept(listener, own):
    while True:
        sock, _ = listener.accept()
        start(session, sock, own, None)


def session(sock, own, node, question=None):
    """One connection: one that was accepted, or one to a node."""
    try:
        sock = sock or socket.create_connection(split(node))
        sessions[sock] = threading.current_thread()
        converse(sock, own, node is not None, question)
    except OSError as error:
        show(f"no connection: {error}")
    except Exception as error:  # a line that is not what it should be
        with contextlib.suppress(OSError):
            say(sock, "bye", reason="protocol", detail=repr(error)[:100])
    finally:
        if sessions.pop(sock, None):
            sock.close()


def converse(sock, own, dialled, question):
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
            if question:
                say(sock, question[0], **question[1])
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
        elif what == "data" and message.get("more"):  # there is another page
            say(sock, question[0], **question[1], after=message["after"])
        elif what in ("data", "update_ack"):
            say(sock, "quit")  # the node says bye


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
