#include "common/rpc/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sysexits.h>

#include "common/rpc/byte_buffer.h"
#include "common/rpc/exit_code.h"
#include "qc2c/v1/sharer.pb.h"

namespace qc2c {
namespace {

TEST(StatusTest, EveryCanonicalCodeSurvivesBothWays) {
  for (int code = 0; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), code == 0 ? "" : "why");
    const grpc::Status wire = ToGrpcStatus(status);
    EXPECT_EQ(static_cast<int>(wire.error_code()), code);
    EXPECT_EQ(FromGrpcStatus(wire), status);
  }
  EXPECT_EQ(FromGrpcStatus(grpc::Status(static_cast<grpc::StatusCode>(77), "odd")),
            absl::UnknownError("odd"));
}

TEST(StatusTest, ALongMessageIsCutBetweenCharacters) {
  std::string message;
  while (message.size() < 10'000) message += "\xE4\xB8\xAD";
  const std::string cut = ToGrpcStatus(absl::InternalError(message)).error_message();
  EXPECT_LE(cut.size(), 2048u);
  EXPECT_GE(cut.size(), 2040u);
  EXPECT_TRUE(cut.ends_with("\xE4\xB8\xAD...")) << cut.substr(cut.size() - 9);
}

TEST(ExitCodeTest, NumbersAreThoseOfSysexits) {
  EXPECT_EQ(static_cast<int>(ToExitCode(absl::OkStatus())), EX_OK);
  EXPECT_EQ(static_cast<int>(ToExitCode(absl::InvalidArgumentError(""))), EX_USAGE);
  EXPECT_EQ(static_cast<int>(ToExitCode(absl::DataLossError(""))), EX_DATAERR);
  EXPECT_EQ(static_cast<int>(ToExitCode(absl::NotFoundError(""))), EX_NOINPUT);
  EXPECT_EQ(static_cast<int>(ToExitCode(absl::UnavailableError(""))), EX_UNAVAILABLE);
  EXPECT_EQ(static_cast<int>(ToExitCode(absl::InternalError(""))), EX_SOFTWARE);
  EXPECT_EQ(static_cast<int>(ToExitCode(absl::AlreadyExistsError(""))), EX_CANTCREAT);
  EXPECT_EQ(static_cast<int>(ToExitCode(absl::ResourceExhaustedError(""))), EX_TEMPFAIL);
  EXPECT_EQ(static_cast<int>(ToExitCode(absl::PermissionDeniedError(""))), EX_NOPERM);
  EXPECT_EQ(static_cast<int>(ToExitCode(absl::FailedPreconditionError(""))), EX_CONFIG);
}

TEST(ByteBufferTest, BytesComeBackFromManySlices) {
  const std::string parts[] = {"ab", "", std::string(3, '\0'), std::string(100'000, 'x')};
  std::vector<grpc::Slice> slices(std::begin(parts), std::end(parts));
  const grpc::ByteBuffer buffer(slices.data(), slices.size());
  EXPECT_EQ(ToBytes(buffer).value(), parts[0] + parts[1] + parts[2] + parts[3]);
}

TEST(ByteBufferTest, AStringIsTakenOverWithoutACopy) {
  std::string message(1 << 20, 'm');
  const void* data = message.data();
  const grpc::ByteBuffer buffer = ToByteBuffer(std::move(message));
  grpc::Slice slice;
  ASSERT_TRUE(buffer.TrySingleSlice(&slice).ok());
  EXPECT_EQ(slice.begin(), data);
  EXPECT_EQ(buffer.Length(), size_t{1} << 20);
}

TEST(ByteBufferTest, AnInvalidBufferIsAnError) {
  EXPECT_EQ(ToBytes(grpc::ByteBuffer()).status().code(), absl::StatusCode::kInternal);
}

TEST(ByteBufferTest, AMessageParsesAndGarbageNamesItsType) {
  v1::ShareRequest request;
  request.add_ids(7);
  v1::ShareRequest parsed;
  ASSERT_TRUE(ParseMessage(ToByteBuffer(request.SerializeAsString()), &parsed).ok());
  EXPECT_EQ(parsed.ids(0), 7u);
  const absl::Status status = ParseMessage(ToByteBuffer("\xff\xff\xff"), &parsed);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("qc2c.v1.ShareRequest"));
}

}  // namespace
}  // namespace qc2c
