#include "common/rpc/address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;

std::string Message(const absl::Status& status) { return std::string(status.message()); }

TEST(AddressTest, FormsAreReadAndWrittenBack) {
  for (const char* text : {"unix:/run/qc2c/sharer.sock", "unix:relative.sock", "localhost:50051",
                           "127.0.0.1:0", "[::1]:65535", "node-1.example:1"}) {
    auto address = ParseAddress(text);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(address->ToString(), text);
  }
  EXPECT_EQ(ParseAddress("unix:a:1")->path, "a:1");
  EXPECT_EQ(ParseAddress("[::1]:7")->host, "::1");
  EXPECT_EQ(ParseAddress("[::1]:7")->port, 7);
}

TEST(AddressTest, OtherFormsAreRefusedByName) {
  for (const char* text :
       {"", ":", "host", "host:", ":1", "host:x", "host:-1", "host:65536", "host:1 ", "host:+1",
        "host:99999999999999999999", "unix:", "http://host:1", "::1:7", "[]:1", "[x]:1", "a b:1"}) {
    const absl::Status status = ParseAddress(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(Message(status), HasSubstr(absl::StrCat("\"", text, "\"")));
    EXPECT_THAT(Message(status), HasSubstr("expected unix:PATH or HOST:PORT"));
  }
}

TEST(AddressTest, AUnixPathMustFitInASocketAddress) {
  EXPECT_TRUE(ParseAddress(absl::StrCat("unix:", std::string(107, 'p'))).ok());
  EXPECT_THAT(Message(ParseAddress(absl::StrCat("unix:", std::string(108, 'p'))).status()),
              HasSubstr("108 bytes, a socket's at most 107"));
}

TEST(AddressTest, OnlyLocalAddressesPassWithoutLeave) {
  for (const char* text : {"unix:a", "localhost:1", "127.0.0.1:1", "127.1.2.3:1", "[::1]:1"})
    EXPECT_TRUE(CheckAccess(*ParseAddress(text), RemoteAccess::kRefuse).ok()) << text;
  for (const char* text : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "node:1", "127.0.0.1.evil.org:1"}) {
    const Address address = *ParseAddress(text);
    const absl::Status status = CheckAccess(address, RemoteAccess::kRefuse);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(Message(status), HasSubstr(text));
    EXPECT_TRUE(CheckAccess(address, RemoteAccess::kAllowInsecureRemote).ok());
  }
}

class StaleSocketTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "/qc2c_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    address_ = ParseAddress(absl::StrCat("unix:", (folder_ / "s.sock").string())).value();
  }
  void TearDown() override {
    if (fd_ >= 0) close(fd_);
    std::filesystem::remove_all(folder_);
  }
  void Bind() {
    fd_ = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un name = {};
    name.sun_family = AF_UNIX;
    std::strcpy(name.sun_path, address_.path.c_str());
    ASSERT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
    ASSERT_EQ(listen(fd_, 1), 0);
  }

  std::filesystem::path folder_;
  Address address_;
  int fd_ = -1;
};

TEST_F(StaleSocketTest, NothingThereIsFine) { EXPECT_TRUE(RemoveStaleSocket(address_).ok()); }

TEST_F(StaleSocketTest, ASocketThatNobodyListensAtIsRemoved) {
  Bind();
  close(fd_);
  fd_ = -1;
  ASSERT_TRUE(std::filesystem::exists(address_.path));
  EXPECT_TRUE(RemoveStaleSocket(address_).ok());
  EXPECT_FALSE(std::filesystem::exists(address_.path));
}

TEST_F(StaleSocketTest, ALiveSocketIsKeptAndNamed) {
  Bind();
  const absl::Status status = RemoveStaleSocket(address_);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Message(status), HasSubstr(address_.path));
  EXPECT_TRUE(std::filesystem::exists(address_.path));
}

TEST_F(StaleSocketTest, AFileThatIsNoSocketIsKept) {
  std::ofstream(address_.path) << "precious";
  EXPECT_EQ(RemoveStaleSocket(address_).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(std::filesystem::exists(address_.path));
}

}  // namespace
}  // namespace qc2c
