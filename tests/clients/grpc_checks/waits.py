"""Calls that take long, run late, are cancelled, or last until the server ends."""

import sys
import threading
import time

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from .client import CHANNEL, HEALTH, PREDICTION, TIMEOUT, fails, grpc, np, predict, request, same, tf

# Threads of `steady`: each has one call inside at a time.
STEADY_THREADS = 4


def slow_message():
    """The server gives a request a second."""
    ended = threading.Event()

    def never():
        ended.wait(TIMEOUT)
        yield b""

    call = CHANNEL.stream_unary("/tensorflow.serving.PredictionService/Predict")
    fails("DEADLINE_EXCEEDED", "the request's time ran out while its message was read", call, never())
    ended.set()
    print("a message that does not come is not waited for")


def deadline():
    slow = request("kitchen", "slow", loops=np.int32([3000]))
    start = time.monotonic()
    try:
        PREDICTION.Predict(slow, timeout=0.3)
        raise AssertionError("expected a time-out")
    except grpc.RpcError as error:
        same(error.code().name, "DEADLINE_EXCEEDED")
    assert time.monotonic() - start < 2
    print("deadlines pass")


def queued_deadline():
    """The server runs one request at a time, for at most a second. Either may come first, and each takes several seconds."""
    first = PREDICTION.Predict.future(request("kitchen", "slow", loops=np.int32([6000])), timeout=TIMEOUT)
    fails("DEADLINE_EXCEEDED", "the request's time ran out while it", PREDICTION.Predict,
          request("kitchen", "slow", loops=np.int32([6000])))
    try:
        first.result()
    except grpc.RpcError as error:
        same(error.code().name, "DEADLINE_EXCEEDED")
    print("the server's own deadline passes")


def cancel():
    """The server runs one request at a time. The test says when a call is inside."""
    runs = lambda: predict("kitchen", "stateful", x=np.int64([0]))["runs"][0]
    before = runs()
    first = PREDICTION.Predict.future(request("kitchen", "slow", loops=np.int32([1000])), timeout=TIMEOUT)
    print("first", flush=True)
    sys.stdin.readline()
    second = PREDICTION.Predict.future(request("kitchen", "stateful", x=np.int64([0])), timeout=TIMEOUT)
    print("second", flush=True)
    sys.stdin.readline()
    second.cancel()
    first.result()
    same(runs(), before + 1)
    print("what is cancelled is not run")


def watch():
    """Print a model's health until the server stops."""
    for response in HEALTH.Watch(health_pb2.HealthCheckRequest(service="kitchen"), timeout=TIMEOUT):
        print(health_pb2.HealthCheckResponse.ServingStatus.Name(response.status), flush=True)
    print("the end")


def busy():
    """Be in the middle of a request until the server stops."""
    future = PREDICTION.Predict.future(request("kitchen", "slow", loops=np.int32([1500])), timeout=TIMEOUT)
    same(tf.make_ndarray(future.result().outputs["rows"]).tolist(), [1])
    print("answered", flush=True)


def steady(lost_max=0):
    """Call from several threads until standard input ends.

    At most so many calls may be lost, each as a server that cannot be
    reached; then each thread goes on.
    """
    def work(number):
        step = 0
        while not over.is_set():
            step += 1
            x = np.float32([number, step % 1000])
            try:
                same(predict("half_plus_two", "", x=x)["y"].tolist(), (x / 2 + 2).tolist())
                answered.append(number)
            except (AssertionError, grpc.RpcError) as error:
                is_lost = isinstance(error, grpc.RpcError) and error.code() == grpc.StatusCode.UNAVAILABLE
                (lost if is_lost else failures).append(f"{type(error).__name__}: {error}")
            # The pace of the load.
            time.sleep(0.01)
    over, answered, failures, lost = threading.Event(), [], [], []
    threads = [threading.Thread(target=work, args=[number]) for number in range(STEADY_THREADS)]
    for thread in threads:
        thread.start()
    print("asking", flush=True)
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()
    assert answered and not failures, (len(answered), len(failures), failures[:5])
    assert len(lost) <= lost_max, (len(answered), len(lost), lost[:5])
    print("every call was answered" if lost_max == 0 else f"at most {lost_max} calls were lost")


def steady_while_one_is_killed():
    """The same beside a server that is killed: the call that each thread has inside may be lost."""
    steady(lost_max=STEADY_THREADS)


def reflecting():
    """Hold a stream of reflection open until the server ends it."""
    done = threading.Event()

    def ask():
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        done.wait(TIMEOUT)

    answers = reflection_pb2_grpc.ServerReflectionStub(CHANNEL).ServerReflectionInfo(ask(), timeout=TIMEOUT)
    print(len(next(answers).list_services_response.service) > 0, flush=True)
    same(list(answers), [])
    print("the end", flush=True)
    done.set()
