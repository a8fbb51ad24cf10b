"""Tasks in Redis or Valkey, for many processes. The design; the modules say the rest.

**What is where.** A task is a hash under its own hash tag (`keys`): the record (`codec`), and beside it what the store
alone decides: the version and the sizes of output. So one script touches all of a task, in a cluster too. Which tasks
are whose, and in which order they were created and have ended, stands in sorted sets under one other tag (`lists`).
They are written at a task's creation, end and removal only, never at its updates.

**A change** is one script. Python makes the next record with `transitions` (there is no second copy of the rules in
Lua), and ``store.lua`` puts it in place if what is stored is still what it was made from: a compare-and-set. It takes
the version, keeps the sizes of output right, sets how long the server keeps an ended task, and publishes the record.
What this process last knew of the task is mostly what is stored, so that a change is one way there and back; where it
is not, the answer brings the newest record and the change is made anew. Only what was read during the call may say that
there is nothing to do, or that nothing can be done. A creation takes its order and its time from the store first
(``register.lua``), an end is entered into the lists afterwards (``settle.lua``): two ways each.

Each change carries a nonce that is stored with it, and by which the next one names what it was made from. When an
answer is lost, the call is made once more, and the script knows its own change again: an advance counts once. Without
an answer to that either, `RegistryUnavailable` is raised.

**Versions** begin at the store's microsecond, above what a removed task has left behind for a day, and go up by one.
Times of records are told by the clock of this process, put right by what the store's clock said last.

**The lists may lag**, the tasks never do. A member is written before its task is created and taken out after it has
left, so that whoever is killed in between leaves a member too many, never one too few; each reader takes the task's
word and puts right what it finds (`Lists.read`): in all lists that it knows by the one that it has read, and it tells
the viewers of that one. A store that is flushed in between does no harm either: on one server the creation writes the
member once more, in the same step. The server forgets an ended task by itself an hour after its retention, in case that
no process is there to take it out.

**Who sees what.** A snapshot is published to the channels of the rooms that the hub knows: its task, its user, its
groups. A server subscribes to the channels of the rooms that its viewers are in, all on one connection (`feed`): the
hub says `watch` when the first viewer enters a room, `unwatch` when the last one has left, and neither waits. A server
without a viewer for a task receives nothing about it.

**The hub never asks the store.** It reads the `Mirror`: the tasks of the rooms that are watched here. The feed's thread
alone writes to it, from the news and from catching up, and announces what it has written; what this process changes
comes back by the same way, so that output comes before the end that follows it. What the hub asks for and the mirror
does not hold is read by the feed and announced. The news of a room are followed *before* it is read: once the server
has confirmed the subscription, the feed reads the unfinished tasks of the room and those that came of late, and
announces what the mirror did not have. So what changed between a viewer's first snapshot and the subscription follows
as a push (and what did not is pushed once more than needed, to the first viewer of a room).

**Pub/sub may lose**; nothing depends on it. On a connection that lives, nothing is lost in between. The feed asks for a
sign of life each second and gives up a connection that does not answer in time; up to when the last sign was asked for,
by the store's clock, everything is here. After any gap it subscribes anew and catches up with all its rooms, in
batches: it compares the versions of what the mirror holds and of all unfinished tasks of the rooms, and reads the
finished ones that came since and what was removed since (of which each room keeps a list for an hour). Nothing but the
rooms served here is read. After a longer gap viewers begin anew.

**Memory.** The epoch stands in the store, with the run id of the server that it began on. Each new connection of any
process sees the run id; when it is another (a restart, a failover, which may both have lost writes), the first to
notice begins a new epoch. A flushed store has no epoch, which the next creation or the feed's next look finds. Records
do not hold the epoch, so what a failover has kept goes on under the new one. `on_epoch` tells the server, which has its
viewers connect anew, since only ``tasks_snapshot`` changes a client's epoch.

**Time limits.** An answer has `timeout` seconds (1), a connection as long. A call is made twice at most, the second
time only if its connection proved dead at once. None of it happens on the hub thread.

**Removal.** A removal published elsewhere may overtake what a viewer here is still owed: the mirror keeps the task
until `pinned` lets go of it, and announces the removal then.

**Conflation.** `RedisRegistry.update` is synchronous and stores what it returns, as `Registry` says: about 0.2 ms on a
Unix socket. What calls more often than people can see belongs behind a *conflator*, the same in a worker's client and
in a server process: it applies an update to the newest record that it has, returns that, and lets one thread write each
task at most once per interval, as the merged arguments of the updates since (an ``advance`` adds up, else the newest
wins), so that another's change in between is not overwritten. Creations, ends, requests to stop and flushes write
through, after what waits for that task. It stands on the interface of `Registry` alone, and is not in this package.

**A cluster** has each task on one node, by the hash tag, and the lists on another. A change and its news are one script
there too: it tells them, with ``SPUBLISH``, by the channel of the task alone, which is in the task's slot. The channels
of users and groups are in the slot of the lists, whose scripts tell that a task is about to come and that one was
removed. The feed has a connection to each primary, and follows with a room each unfinished task of it, as `sharded`
says; what a moved slot has taken elsewhere it follows there (`lines`), and catches up with it. The epoch stands beside
the lists with the run ids of all primaries that have slots: if one of them is missing, because it was started anew or
another has taken its place, writes may be lost, and a new epoch begins; one that joins changes nothing. A new one
begins, too, when a primary has lost its mark: it was flushed (`marks`). A cluster that gives a primary's last slots
away begins a new one, too: that looks the same. `relist` makes up for lists that were lost alone: who sweeps goes
through all tasks, and who reads one that is older than the epoch makes sure of that one.
"""

from __future__ import annotations

from .address import buffer_of as buffer_of
from .buffered import BufferedRedisRegistry as BufferedRedisRegistry
from .registry import RedisRegistry as RedisRegistry
