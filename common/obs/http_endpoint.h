// The daemon's HTTP page: /metrics for Prometheus and /healthz for supervisors.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace qc2c {

enum class Health { kServing, kDraining };

// Serves from threads of its own until destroyed.
//   GET /metrics  200, the text that `metrics_text` returns
//   GET /healthz  200 "ok", or 503 "draining"
class HttpEndpoint {
 public:
  // `address` is HOST:PORT; port 0 takes any free one (see port()). `metrics_text` is called from
  // these threads. INVALID_ARGUMENT for an address of another form, UNAVAILABLE if it cannot be
  // bound; both name it.
  static absl::StatusOr<std::unique_ptr<HttpEndpoint>> Start(
      const std::string& address, std::function<std::string()> metrics_text);

  ~HttpEndpoint();
  HttpEndpoint(const HttpEndpoint&) = delete;
  HttpEndpoint& operator=(const HttpEndpoint&) = delete;

  int port() const;             // the bound one
  std::string address() const;  // HOST:PORT with it
  void SetHealth(Health health);

 private:
  struct State;
  explicit HttpEndpoint(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace qc2c
