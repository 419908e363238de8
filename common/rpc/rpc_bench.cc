// How fast a stream of serialized messages crosses gRPC, by message size, beside the limit: a plain
// socket of the same kind that writes and reads the same pieces in the same run. The time of both
// is taken in turns, so that the ratio holds although the machine's speed drifts.
#include <arpa/inet.h>
#include <benchmark/benchmark.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/rpc/channel.h"
#include "common/rpc/fake_sharer.h"
#include "common/rpc/share_call.h"

namespace qc2c {
namespace {

constexpr size_t kTotalBytes = size_t{64} << 20;
enum Transport : int64_t { kUnix, kTcp };

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void Require(bool condition, const char* what) {
  if (condition) return;
  std::perror(what);
  std::abort();
}

std::string SocketFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "qc2c_bench_XXXXXX").string();
  Require(mkdtemp(name.data()) != nullptr, "mkdtemp");
  return name;
}

// A connected pair of the transport's sockets; [0] reads, [1] writes.
class SocketPair {
 public:
  explicit SocketPair(Transport transport) {
    if (transport == kUnix) {
      Require(socketpair(AF_UNIX, SOCK_STREAM, 0, fds_) == 0, "socketpair");
      return;
    }
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in name = {};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(name);
    Require(bind(listener, reinterpret_cast<sockaddr*>(&name), size) == 0, "bind");
    Require(listen(listener, 1) == 0, "listen");
    Require(getsockname(listener, reinterpret_cast<sockaddr*>(&name), &size) == 0, "getsockname");
    fds_[1] = socket(AF_INET, SOCK_STREAM, 0);
    Require(connect(fds_[1], reinterpret_cast<sockaddr*>(&name), size) == 0, "connect");
    fds_[0] = accept(listener, nullptr, nullptr);
    Require(fds_[0] >= 0, "accept");
    close(listener);
  }
  ~SocketPair() {
    close(fds_[0]);
    close(fds_[1]);
  }

  // Seconds to write kTotalBytes in pieces of `piece` and to read them all on another thread.
  double Transfer(size_t piece) {
    const std::string source(piece, 's');
    const auto start = Clock::now();
    std::thread reader([&] {
      std::string sink(piece, '\0');
      for (size_t left = kTotalBytes; left > 0;) {
        const ssize_t got = read(fds_[0], sink.data(), std::min(left, piece));
        Require(got > 0, "read");
        left -= static_cast<size_t>(got);
      }
    });
    for (size_t left = kTotalBytes; left > 0;) {
      const size_t begin = (kTotalBytes - left) % piece;
      const ssize_t put = write(fds_[1], source.data() + begin, std::min(left, piece - begin));
      Require(put > 0, "write");
      left -= static_cast<size_t>(put);
    }
    reader.join();
    return SecondsSince(start);
  }

 private:
  int fds_[2] = {-1, -1};
};

// A sharer of the project's own raw stream, on one warm channel.
class GrpcStream {
 public:
  GrpcStream(Transport transport, size_t piece)
      : folder_(SocketFolder()), sharer_([piece](const v1::ShareRequest&, RawStreamWriter* writer) {
          writer->Send(std::vector<std::string>(kTotalBytes / piece, std::string(piece, 's')));
          writer->Finish(absl::OkStatus());
        }) {
    const std::string address =
        transport == kUnix ? absl::StrCat("unix:", folder_, "/s.sock") : "127.0.0.1:0";
    host_ = ServerHost::Start({.address = ParseAddress(address).value()}, Hosted(sharer_)).value();
    channel_ = CreateChannel(host_->address()).value();
  }
  ~GrpcStream() {
    host_.reset();
    std::filesystem::remove_all(folder_);
  }

  // Seconds from the first message's arrival, which leaves out filling the buffers, to the end.
  double Transfer() {
    absl::Notification done;
    ShareOutcome end;
    auto start = Clock::now();
    bool first = true;
    ShareCall::Start(channel_, {},
                     {.on_message =
                          [&](std::string) {
                            if (first) start = Clock::now();
                            first = false;
                          },
                      .on_done =
                          [&](ShareOutcome outcome) {
                            end = std::move(outcome);
                            done.Notify();
                          }});
    done.WaitForNotification();
    const double seconds = SecondsSince(start);
    if (!end.status.ok() || end.rx_bytes != kTotalBytes || end.tx_bytes.value() != kTotalBytes)
      std::abort();
    return seconds;
  }

 private:
  std::string folder_;
  FakeSharer sharer_;
  std::unique_ptr<ServerHost> host_;
  std::shared_ptr<grpc::Channel> channel_;
};

double Median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

// Columns: median GB/s through gRPC and through the socket, and the median of the pairs' ratios.
void BM_Stream(benchmark::State& state) {
  const auto transport = static_cast<Transport>(state.range(0));
  const auto piece = static_cast<size_t>(state.range(1));
  GrpcStream stream(transport, piece);
  SocketPair sockets(transport);
  stream.Transfer();  // warm: connection, windows, frame size
  sockets.Transfer(piece);
  std::vector<double> grpc_rate, socket_rate, ratio;
  for (auto _ : state) {
    const double grpc_seconds = stream.Transfer() * static_cast<double>(kTotalBytes) /
                                static_cast<double>(kTotalBytes - piece);
    const double socket_seconds = sockets.Transfer(piece);
    state.SetIterationTime(grpc_seconds);
    grpc_rate.push_back(kTotalBytes / grpc_seconds * 1e-9);
    socket_rate.push_back(kTotalBytes / socket_seconds * 1e-9);
    ratio.push_back(socket_seconds / grpc_seconds);
  }
  state.counters["grpc_GB/s"] = Median(grpc_rate);
  state.counters["socket_GB/s"] = Median(socket_rate);
  state.counters["ratio"] = Median(ratio);
  state.SetLabel(transport == kUnix ? "unix" : "tcp");
}
BENCHMARK(BM_Stream)
    ->ArgNames({"tcp", "message"})
    ->ArgsProduct({{kUnix, kTcp}, {64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20}})
    ->UseManualTime()
    ->Iterations(15)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace qc2c

BENCHMARK_MAIN();
