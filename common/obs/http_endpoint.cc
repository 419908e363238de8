#include "common/obs/http_endpoint.h"

#include <httplib.h>
#include <pthread.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace qc2c {
namespace {

constexpr size_t kMinStackBytes = size_t{1} << 20;
constexpr size_t kThreads = 4;

// libtorch's static thread-local storage alone takes 193 KB of each thread's stack. Threads made
// after this have room, also under a small `ulimit -s`.
void EnsureRoomyThreads() {
  pthread_attr_t attributes;
  if (pthread_getattr_default_np(&attributes) != 0) return;
  size_t bytes = 0;
  pthread_attr_getstacksize(&attributes, &bytes);
  if (bytes < kMinStackBytes && pthread_attr_setstacksize(&attributes, kMinStackBytes) == 0)
    pthread_setattr_default_np(&attributes);
  pthread_attr_destroy(&attributes);
}

absl::StatusOr<std::pair<std::string, int>> SplitAddress(const std::string& address) {
  const size_t colon = address.rfind(':');
  int port = -1;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 0 || port > 65535)
    return absl::InvalidArgumentError(absl::StrCat("metrics address: found \"", address,
                                                   "\", expected HOST:PORT with a port 0..65535"));
  return std::pair(address.substr(0, colon), port);
}

}  // namespace

struct HttpEndpoint::State {
  httplib::Server server;
  std::string host;
  int port = 0;
  std::function<std::string()> metrics_text;
  std::atomic<Health> health{Health::kServing};
  std::thread thread;

  void Route() {
    server.Get("/metrics", [this](const httplib::Request&, httplib::Response& reply) {
      reply.set_content(metrics_text(), "text/plain; version=0.0.4; charset=utf-8");
    });
    server.Get("/healthz", [this](const httplib::Request&, httplib::Response& reply) {
      const bool serving = health.load() == Health::kServing;
      reply.status = serving ? 200 : 503;
      reply.set_content(serving ? "ok\n" : "draining\n", "text/plain");
    });
  }
};

absl::StatusOr<std::unique_ptr<HttpEndpoint>> HttpEndpoint::Start(
    const std::string& address, std::function<std::string()> metrics_text) {
  auto split = SplitAddress(address);
  if (!split.ok()) return split.status();
  auto state = std::make_unique<State>();
  state->host = split->first;
  state->metrics_text = std::move(metrics_text);
  EnsureRoomyThreads();
  state->server.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  // The library's own choice is SO_REUSEPORT, with which a second daemon takes half of the scrapes.
  state->server.set_socket_options([](socket_t socket) {
    const int on = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  });
  state->server.set_keep_alive_timeout(1);  // so that stopping never waits long for an idle scraper
  state->Route();
  state->port =
      split->second != 0
          ? (state->server.bind_to_port(state->host.c_str(), split->second) ? split->second : -1)
          : state->server.bind_to_any_port(state->host.c_str());
  if (state->port <= 0)
    return absl::UnavailableError(
        absl::StrCat("cannot serve metrics at ", address, ": the address is in use or not ours"));
  State* raw = state.get();
  state->thread = std::thread([raw] { raw->server.listen_after_bind(); });
  // Stopping a server that does not run yet would be forgotten.
  while (!state->server.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return std::unique_ptr<HttpEndpoint>(new HttpEndpoint(std::move(state)));
}

HttpEndpoint::HttpEndpoint(std::unique_ptr<State> state) : state_(std::move(state)) {}

HttpEndpoint::~HttpEndpoint() {
  state_->server.stop();
  state_->thread.join();
}

int HttpEndpoint::port() const { return state_->port; }
std::string HttpEndpoint::address() const { return absl::StrCat(state_->host, ":", state_->port); }
void HttpEndpoint::SetHealth(Health health) { state_->health = health; }

}  // namespace qc2c
