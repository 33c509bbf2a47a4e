//! What the help says after the flags.

/// Ends `peerage --help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  peerage devnet
      See five nodes find each other. Start here.

  peerage run
      Run a node on port 5999 of every IPv4 address. It prints the command that joins it.

  peerage run --ephemeral --listen 127.0.0.1:0 --bootstrap 127.0.0.1:5999
      Join that node from another terminal of the same machine, on a free port.

  peerage run --bootstrap seed.example:5999 --advertise 203.0.113.7:5999
      Join a network from behind a forwarded port.

  peerage config
      Show every setting, its value, and where the value comes from.

  peerage sim
      Simulate a thousand nodes for an hour of their time.

  peerage id
      Show who the node is.

  peerage doctor
      Find out what is wrong, and what to do about it.

  peerage peers
  peerage why 7a5f
  peerage send 7a5f \"hello\"
      See a running node, have it explain itself, send a text to another. Ids may be shortened.

  peerage data join notes
  peerage data set notes greeting \"hello\"
      Share data with every node that joins the same space. `peerage data --help` has more.

Exit status:
  0   it ended as asked (after SIGINT or SIGTERM, too)
  1   it could not start or go on, for instance because the port or the data directory is in use;
      or the node that was asked would not, or it came to nothing, and why
  2   the command line, the environment or the configuration file is wrong
  69  no node is there to be asked
  77  the token for the node's control API is wrong
  70  a part of the node died unexpectedly; start it again and report it
  130, 143  a second SIGINT or SIGTERM cut the orderly stop short

`peerage run --help` explains every setting.";

/// Ends `peerage run --help`.
pub(super) const RUN_NOTES: &str = "\
Layers:
  A flag beats its environment variable, which beats the configuration file, which beats the
  default. Lists (listen, bootstrap, tag) are replaced by a stronger layer, not extended; in a
  variable they are separated by commas. A variable that is set but empty counts as not set.
  Switches take an optional value, so --ephemeral=false undoes `ephemeral = true` of a file.
  Durations are a number and a unit: 200ms, 60s, 5m, 1h, 1m 30s.

  A configuration file looks like this:
      listen = [\"0.0.0.0:5999\", \"[::]:5999\"]
      bootstrap = [\"seed.example:5999\"]
      ping-interval = \"30s\"
      outbox-frames = 2048

      [trust]
      allow = [\"7a5f0c1e-…\", \"b0c2d4e6-…\"]   # in place of the flag --allow

      [hooks]                                  # a program that hears and steers the node
      program = [\"python3\", \"hook.py\"]        # see docs/OPERATIONS.md

Examples:
  peerage run --listen 0.0.0.0:5999 --listen [::]:5999
      Listen on IPv4 and IPv6.

  PEERAGE_BOOTSTRAP=10.0.0.1:5999,10.0.0.2:5999 peerage run --log peerage=debug
      Take the first contacts from the environment, and log more.

  peerage config --config node.toml
      See what `peerage run --config node.toml` would do, without doing it.

Stopping:
  SIGINT (Ctrl-C) or SIGTERM: every peer is told, and the process ends with status 0 within two
  seconds. A second signal ends it at once, with status 130 (SIGINT) or 143 (SIGTERM).

Exit status:
  0 ended as asked; 1 could not start or go on (port or data directory in use); 2 wrong flags,
  environment or file; 70 a part of the node died unexpectedly.";

/// Ends `peerage config --help`.
pub(super) const CONFIG_NOTES: &str = "\
Examples:
  peerage config
  PEERAGE_LOG=debug peerage config --config node.toml --ping-interval 5s
  peerage config --bootstrap 10.0.0.1:5999 > node.toml

Exit status:
  0 the settings are fine; 2 they are not, and one line on stderr says why.
  A port or a data directory in use is not noticed here: neither is opened.";

/// Ends `peerage doctor --help`.
pub(super) const DOCTOR_NOTES: &str = "\
Examples:
  peerage doctor
      Look at the node that runs with your data directory, or at one that would.

  peerage doctor --listen 0.0.0.0:6000 --bootstrap seed.example:5999
      See whether a node could be run so.

How it looks:
  A node that runs is asked through its control API, and judged by the settings that it runs with;
  --data-dir says which. First contacts, and the node itself, are dialled by a node that lives for this
  only and has an id that nobody knows: they note a stranger that comes and goes. What their clocks
  show is told by whether they take a message that was made now.

Exit status:
  0 nothing fails; 1 something does not work; 2 wrong flags, environment or file.";

/// Ends `peerage data --help`.
pub(super) const DATA_NOTES: &str = "\
A space is a set of keys and values with a name. Every node that joins it holds all of it, and
what is written on one is soon on all; of two values for one key the later wins. Nodes that were
apart come together by themselves. Keys have up to 1 KiB, values up to 1 MiB.

Examples:
  peerage data join notes
      Hold the space `notes` on this node. The same on another node, and they share it.

  peerage data set notes greeting hello
  peerage data get notes greeting
      Write a value; read it, here or on any other node of the space.

  peerage data set notes photo - < photo.jpg
  peerage data get notes photo > copy.jpg
      Any bytes will do.

  peerage data ls notes users/ --long
  peerage data rm notes users/ada
      List the keys that begin with `users/`; delete one.

  peerage data watch notes --json
      Follow what changes, wherever it is written.

  peerage data export notes > notes.jsonl
  peerage data import other < notes.jsonl
      Copy a space into another.

  peerage data join journal --writer 7a5f --writer b0c2
      A space that only these two nodes may write to. Every node has to name the same writers.

Values and keys that begin with `-` go behind `--`: peerage data set notes -- key -5

Exit status:
  0 done; 1 it was not, and why (`get`: also if the key has no value); 2 wrong flags;
  69 no node is there to be asked; 77 the token for its control API is wrong.";

/// Ends `peerage devnet --help`.
pub(super) const DEVNET_NOTES: &str = "\
Examples:
  peerage devnet
  peerage devnet --nodes 20
  peerage devnet --nodes 3 --log peerage=debug

Lines on stdout look like this:
  +0.012s  node 2 (6f1c2a3b) sees node 1 (90d4e7aa), outbound, 127.0.0.1:41234
which means: 12 ms after the start node 2 has shaken hands with node 1, having dialled it there.

Exit status:
  0 ended by Ctrl-C; 1 a node could not start; 2 wrong flags; 70 a part of a node died unexpectedly.";

/// Ends `peerage id --help`.
pub(super) const ID_NOTES: &str = "\
Examples:
  peerage id
  peerage id --json --data-dir /var/lib/peerage
  peerage id new --data-dir node2

Exit status:
  0 the key is there; 1 it is not (or, with `new`, it was there already), or it cannot be used;
  2 wrong flags, environment or file.";

/// Ends `peerage sim --help`.
pub(super) const SIM_NOTES: &str = "\
Scenarios:
  A flag beats the file, which beats the default. All times count from the last join. A scenario
  looks like this; every key may be left out:
      nodes = 1000
      for = \"1h\"
      nat-share = 0.3                             # nobody can dial these
      latency = { range = [\"10ms\", \"80ms\"] }     # or lognormal = { median = \"40ms\", sigma = 0.5 }

      [[route]]                                   # messages from one node to another
      from = \"5m\"
      per-minute = 600
      bytes = 200

      [[broadcast]]                               # messages to all
      from = \"10m\"
      for = \"5m\"
      per-minute = 12
      origins = \"random\"                          # or \"one\"

      [[churn]]                                   # nodes go, newcomers come
      from = \"20m\"
      for = \"10m\"
      share-per-minute = 0.1

      [[kill]]                                    # many go at once
      at = \"40m\"
      share = 0.3

      [[partition]]                               # two halves that do not reach each other
      at = \"45m\"
      for = \"10m\"

Examples:
  peerage sim --nodes 100 --for 10m
  peerage sim --nodes 10000 --seed 7 --for 1h
  peerage sim examples/scenarios/churn.toml --plot plots
  peerage sim examples/scenarios/kill.toml --nodes 200 --json > report.json

Reading the report:
  The report goes to stdout and follows from the scenario alone. What it cost goes to stderr.
  docs/SCALE.md explains every figure.

Exit status:
  0 the report is out, whatever it says; 1 it could not be written; 2 wrong flags or scenario.";
