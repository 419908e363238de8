#include "experiments/socket_meter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <thread>

namespace qc2c {
namespace {

int UnixSocket(const std::filesystem::path& path, sockaddr_un& name) {
  name = {};
  name.sun_family = AF_UNIX;
  std::strcpy(name.sun_path, path.c_str());
  return socket(AF_UNIX, SOCK_STREAM, 0);
}

// Reads to the end of the stream.
std::string ReadAll(int fd) {
  std::string text;
  char piece[4096];
  for (ssize_t n; (n = read(fd, piece, sizeof(piece))) > 0;) text.append(piece, n);
  return text;
}

class SocketMeterTest : public testing::Test {
 protected:
  SocketMeterTest() {
    std::string name = testing::TempDir() + "/meter_XXXXXX";
    folder_ = mkdtemp(name.data());
  }
  ~SocketMeterTest() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
};

TEST_F(SocketMeterTest, PassesBothDirectionsOnAndCountsEveryByte) {
  sockaddr_un name;
  const int server = UnixSocket(folder_ / "back", name);
  ASSERT_EQ(bind(server, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  ASSERT_EQ(listen(server, 1), 0);
  std::jthread echo([server] {
    const int peer = accept(server, nullptr, nullptr);
    const std::string text = ReadAll(peer);
    const std::string reply = text + text;
    EXPECT_EQ(write(peer, reply.data(), reply.size()), static_cast<ssize_t>(reply.size()));
    close(peer);
    close(server);
  });

  const auto meter = SocketMeter::Start(folder_ / "front", folder_ / "back");
  ASSERT_TRUE(meter.ok());
  const int client = UnixSocket(folder_ / "front", name);
  ASSERT_EQ(connect(client, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  const std::string question(30'000, 'q');
  ASSERT_EQ(write(client, question.data(), question.size()), static_cast<ssize_t>(question.size()));
  shutdown(client, SHUT_WR);
  EXPECT_EQ(ReadAll(client), question + question);
  close(client);
  EXPECT_EQ((*meter)->bytes().to_server, 30'000u);
  EXPECT_EQ((*meter)->bytes().to_client, 60'000u);
}

TEST_F(SocketMeterTest, AConnectionThatFindsNobodyIsClosed) {
  const auto meter = SocketMeter::Start(folder_ / "front", folder_ / "nobody");
  ASSERT_TRUE(meter.ok());
  sockaddr_un name;
  const int client = UnixSocket(folder_ / "front", name);
  ASSERT_EQ(connect(client, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  EXPECT_EQ(ReadAll(client), "");
  close(client);
}

TEST_F(SocketMeterTest, APathThatCannotBeBoundIsNamed) {
  const auto meter = SocketMeter::Start(folder_ / "no" / "folder", folder_ / "back");
  EXPECT_EQ(meter.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(meter.status().message()), testing::HasSubstr("no/folder"));
}

}  // namespace
}  // namespace qc2c
