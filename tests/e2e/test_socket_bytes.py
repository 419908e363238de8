"""Bytes on the socket, counted by a relay between the two daemons, beside the serialized ones."""

import socket
import threading

import pytest

from programs import evaluate

N = 128
FRAME_HEADER = 9  # of HTTP/2, RFC 9113 section 4.1
GRPC_PREFIX = 5  # of a gRPC message
CALL_BYTES = 160  # headers and trailers with their compressed names, window updates


class Relay:
    """Passes bytes between TCP connections and an address, and counts both directions."""

    def __init__(self, target: tuple[str, int]):
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.to_target = 0
        self.from_target = 0
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, function, *arguments):
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            server = socket.create_connection(self._target)
            self._connections += [client, server]
            self._start(self._pump, client, server, "to_target")
            self._start(self._pump, server, client, "from_target")

    def _pump(self, source: socket.socket, sink: socket.socket, counter: str):
        try:
            while data := source.recv(1 << 16):
                setattr(self, counter, getattr(self, counter) + len(data))  # one thread a direction
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:  # the other side is gone
            return

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            connection.close()


@pytest.fixture
def relayed(programs):
    """A sharer, a receiver that reaches it through a relay, and the relay."""
    sharer = programs.sharer("127.0.0.1:0")
    host, port = sharer.address.rsplit(":", 1)
    relay = Relay((host, int(port)))
    receiver = programs.receiver(relay.address, "127.0.0.1:0")
    yield relay, receiver
    relay.close()


@pytest.mark.parametrize(
    "codec",
    [
        "fp32",
        "int8",
        "int4,select=back,keep_ratio=0.1",
        "int8,select=key_norm,indices=per_layer,keep_ratio=0.25",
        "int4,axis=group,group=8,scale=two_level,select=attention,window=4,keep_ratio=0.5",
        "int4,keys=1-2:int8,values=3:none",
        "int8,budget_bytes=900",
    ],
)
def test_the_socket_carries_the_serialized_bytes_and_little_more(relayed, folder, codec):
    relay, receiver = relayed
    before = relay.from_target
    run = evaluate(
        receiver.address, folder / "out", "--mode", "fused", "--codec", codec, "--limit", N
    )
    on_socket = relay.from_target - before
    bytes_tx = round(run.points()[0]["bytes_tx"]["mean"] * N)
    surplus = on_socket / bytes_tx - 1
    print(
        f"\n{codec}: {on_socket / N:.1f} bytes a question on the socket,"
        f" {bytes_tx / N:.1f} serialized: {100 * surplus:+.2f} %"
    )
    assert on_socket >= bytes_tx + N * (GRPC_PREFIX + FRAME_HEADER)
    # A call has headers, trailers, a DATA frame for each 16 KiB and a share of the window updates.
    frames = bytes_tx / N / (16 << 10) + 1
    assert on_socket <= bytes_tx + N * (GRPC_PREFIX + frames * FRAME_HEADER + CALL_BYTES)
    if bytes_tx >= N * (10 << 10):
        assert surplus < 0.02
