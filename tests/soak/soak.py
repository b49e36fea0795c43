"""Load a server with everything at once, for minutes, and check every answer.

    make soak                                     # five minutes of every day
    make soak SOAK="--worst --seconds 600"        # the worst of all attacks at once, in 4 GiB

Good clients of every kind call the server without a pause, over both ports, and compare each answer. Beside them others leave, trickle,
send nonsense, do not read; the store and the origin are killed and come back; versions and models come and go. A run passes if no
answer is wrong or lost, /livez answers in time, and ten seconds after the load everything that was taken is given back.

With --worst the other clients are the attacks that once hurt a server, and its memory is limited.
"""

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import good
import hostile
from server import ROOT, Origin, Server, Store

MEMORY_BYTES = 4 << 30
LIVEZ_S_MAX = 0.1
IDLE_WAIT_S = 10
# What allocators may keep of what was given back, beside a fifth of the memory after the first load. TensorFlow's keeps its regions,
# each twice as large as the one before: from 2 to 256 MiB here. The rest is tfweb's and the C library's.
SLACK_KIB = (510 + 64) << 10
# What the request that asks for the figures is counted at.
OWN_BYTES_MAX = 32 << 10


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--binary", type=Path, default=ROOT / "target" / "release" / "tfweb")
    options.add_argument("--seconds", type=float, default=300)
    options.add_argument("--worst", action="store_true")
    options.add_argument("--only", nargs="*", default=[], help="these attacks alone")
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        store, origin = Store(work), Origin()
        server = Server(options.binary, work, store, origin, MEMORY_BYTES if options.worst else None)
        try:
            failures = run(options, server, store, origin)
        finally:
            origin.muted.set()
            store.kill()
            code = server.stop()
        if code != 0:
            failures.append(f"exit code {code}; the log ends with:\n{server.log()[-2000:]}")
    for failure in failures:
        print("FAILED:", failure)
    print("passed" if not failures else "failed")
    sys.exit(bool(failures))


def run(options, server, store, origin):
    tally, stop = good.Tally(), threading.Event()
    calls = ["native", "native", "rest", "text", "culprit", "url"]
    workers = [lambda who=who, seed=seed: good.run(server, origin, tally, stop, who, seed) for seed, who in enumerate(calls)]
    workers += [lambda: good.grpc(server, tally, stop, 99)]
    # What the good clients alone need is the memory to come back to.
    run_for(workers, 10, stop, tally, server)
    stop.clear()
    idle = server.memory_kib()
    attacks = [getattr(hostile, name) for name in options.only] or (hostile.WORST if options.worst else hostile.EVERYDAY)
    workers += [lambda attack=attack: attack(server, stop) for attack in attacks]
    workers += [lambda: hostile.mute_urls(server, stop, origin), lambda: disturb(stop, store, origin)]
    workers += [lambda: good.livez(server, tally, stop)]
    run_for(workers, options.seconds, stop, tally, server)
    time.sleep(IDLE_WAIT_S)
    return verdict(server, tally, idle)


def run_for(workers, seconds, stop, tally, server):
    threads = [threading.Thread(target=worker, daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end and not tally.wrong:
        time.sleep(min(5, max(0, end - time.monotonic())))
        done = sum(count for (_, what), count in tally.counts.items() if what in (200, "OK"))
        print(f"{server.memory_kib() >> 10} MiB resident, {done} answered", flush=True)
    stop.set()
    for thread in threads:
        thread.join(60)


def disturb(stop, store, origin):
    """Kills the store and the origin now and then, and publishes versions."""
    version = 1
    while not stop.wait(4):
        version += 1
        store.publish(version)
        if version % 3 == 0:
            store.kill()
            origin.kill()
            stop.wait(2)
            origin.start()
            store.start()


def verdict(server, tally, idle):
    after, peak = server.memory_kib(), server.memory_kib("VmHWM")
    for (who, what), count in sorted(tally.counts.items(), key=str):
        print(f"{who:8} {what!s:20} {count:8}")
    for who, seconds in sorted(tally.longest_s.items()):
        print(f"{who:8} longest {1000 * seconds:8.1f} ms")
    print(f"resident: {idle >> 10} MiB after the first load, at most {peak >> 10}, {after >> 10} MiB {IDLE_WAIT_S} s after the end")
    failures = tally.wrong[:20]
    stats = server.stats()
    stuck = [one for one in stats["signatures"] if one["queued_rows"] or one["running_rows"]]
    if stuck or any(stats["in_flight"].values()):
        failures.append(f"still inside: {stats['in_flight']} {stuck}")
    if (held := server.metric("tfweb_request_memory_bytes")) > OWN_BYTES_MAX:
        failures.append(f"{held} bytes are still counted")
    if after > idle * 1.2 + SLACK_KIB:
        failures.append(f"{after} KiB are resident, {idle} before")
    if tally.longest_s.get("livez", 0) > LIVEZ_S_MAX:
        failures.append(f"/livez took {tally.longest_s['livez']:.3f} s, limit {LIVEZ_S_MAX} s")
    return failures


main()
