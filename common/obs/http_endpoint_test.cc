#include "common/obs/http_endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include "absl/strings/str_cat.h"
#include "common/obs/qc2c_metrics.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;

TEST(HttpEndpointTest, ServesMetricsOfTheMomentAtAnyFreePort) {
  Metrics metrics;
  Qc2cMetrics ours(metrics);
  auto endpoint = HttpEndpoint::Start("127.0.0.1:0", [&] { return metrics.Serialize(); });
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  ASSERT_GT((*endpoint)->port(), 0);
  EXPECT_EQ((*endpoint)->address(), "127.0.0.1:" + std::to_string((*endpoint)->port()));
  httplib::Client client("127.0.0.1", (*endpoint)->port());
  ours.inflight.Set(3);
  auto reply = client.Get("/metrics");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->status, 200);
  EXPECT_THAT(reply->get_header_value("Content-Type"), HasSubstr("text/plain; version=0.0.4"));
  EXPECT_THAT(reply->body, HasSubstr("\nqc2c_inflight 3\n"));
  ours.inflight.Set(4);
  EXPECT_THAT(client.Get("/metrics")->body, HasSubstr("\nqc2c_inflight 4\n"));
  EXPECT_EQ(client.Get("/secrets")->status, 404);
}

TEST(HttpEndpointTest, HealthFollowsTheDaemon) {
  auto endpoint = HttpEndpoint::Start("localhost:0", [] { return std::string(); });
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  httplib::Client client("localhost", (*endpoint)->port());
  auto reply = client.Get("/healthz");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->status, 200);
  EXPECT_EQ(reply->body, "ok\n");
  (*endpoint)->SetHealth(Health::kDraining);
  reply = client.Get("/healthz");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->status, 503);
  EXPECT_EQ(reply->body, "draining\n");
}

TEST(HttpEndpointTest, ATakenPortIsRefusedByName) {
  auto first = HttpEndpoint::Start("127.0.0.1:0", [] { return std::string(); });
  ASSERT_TRUE(first.ok()) << first.status();
  auto second = HttpEndpoint::Start((*first)->address(), [] { return std::string(); });
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr((*first)->address()));
}

TEST(HttpEndpointTest, AThrowingMetricsSourceIsAnErrorReplyAndServingGoesOn) {
  auto endpoint = HttpEndpoint::Start("127.0.0.1:0",
                                      []() -> std::string { throw std::runtime_error("broken"); });
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  httplib::Client client("127.0.0.1", (*endpoint)->port());
  auto reply = client.Get("/metrics");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->status, 500);
  EXPECT_EQ(client.Get("/healthz")->status, 200);
}

TEST(HttpEndpointTest, AMalformedAddressIsRefusedByName) {
  for (const std::string address :
       {"", "9090", ":9090", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1"}) {
    auto endpoint = HttpEndpoint::Start(address, [] { return std::string(); });
    EXPECT_EQ(endpoint.status().code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_THAT(std::string(endpoint.status().message()),
                HasSubstr(absl::StrCat("\"", address, "\"")));
  }
}

}  // namespace
}  // namespace qc2c
