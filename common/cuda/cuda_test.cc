#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <utility>

#include "common/cuda/cuda_buffer.h"
#include "common/cuda/cuda_device.h"
#include "common/cuda/cuda_status.h"
#include "common/cuda/cuda_stream.h"

namespace qc2c {
namespace {

constexpr int kCudaSuccess = 0;
constexpr int kCudaErrorMemoryAllocation = 2;
constexpr int kCudaErrorInvalidValue = 1;

TEST(CudaStatusTest, NamesTheCallAndTellsExhaustionFromOtherErrors) {
  EXPECT_TRUE(CudaStatus(kCudaSuccess, "anything").ok());
  const absl::Status exhausted = CudaStatus(kCudaErrorMemoryAllocation, "cudaMalloc");
  EXPECT_TRUE(absl::IsResourceExhausted(exhausted)) << exhausted;
  const absl::Status invalid = CudaStatus(kCudaErrorInvalidValue, "LaunchIt");
  EXPECT_TRUE(absl::IsInternal(invalid)) << invalid;
  EXPECT_THAT(std::string(invalid.message()), testing::HasSubstr("LaunchIt: invalid argument"));
}

TEST(CudaBufferTest, StartsEmptyAndMovesWithoutFreeing) {
  CudaBuffer buffer(CudaMemory::kPinnedHost);
  EXPECT_EQ(buffer.capacity(), 0u);
  EXPECT_TRUE(buffer.Reserve(0).ok());
  const CudaBuffer moved = std::move(buffer);
  EXPECT_EQ(moved.data(), nullptr);
}

TEST(CudaBufferTest, GrowsOnlyWhenAskedForMore) {
  if (CudaDeviceCount() == 0) GTEST_SKIP() << "no CUDA device";
  for (const CudaMemory memory : {CudaMemory::kDevice, CudaMemory::kPinnedHost}) {
    CudaBuffer buffer(memory);
    ASSERT_TRUE(buffer.Reserve(1000).ok());
    const uint8_t* const first = buffer.data();
    ASSERT_TRUE(buffer.Reserve(10).ok());
    EXPECT_EQ(buffer.data(), first);
    ASSERT_TRUE(buffer.Reserve(5000).ok());
    EXPECT_GE(buffer.capacity(), 5000u);
    EXPECT_TRUE(absl::IsResourceExhausted(buffer.Reserve(size_t{1} << 50)));
  }
}

TEST(CudaBufferTest, AsksForUnusedMemoryBeforeItGivesUp) {
  if (CudaDeviceCount() == 0) GTEST_SKIP() << "no CUDA device";
  static auto* unused = new std::optional<CudaBuffer>(CudaMemory::kDevice);
  size_t bytes = size_t{1} << 40;
  while (!(*unused)->Reserve(bytes).ok()) bytes = bytes / 8 * 7;
  CudaBuffer buffer(CudaMemory::kDevice);
  EXPECT_TRUE(absl::IsResourceExhausted(buffer.Reserve(bytes / 2)));
  SetReturnUnused([] { unused->reset(); });
  EXPECT_TRUE(buffer.Reserve(bytes / 2).ok());
  SetReturnUnused(nullptr);
}

TEST(CudaDeviceTest, FindsTheGpuOfItsMemoryAndRefusesHostMemory) {
  if (CudaDeviceCount() == 0) GTEST_SKIP() << "no CUDA device";
  CudaBuffer device(CudaMemory::kDevice);
  ASSERT_TRUE(device.Reserve(16).ok());
  EXPECT_EQ(CudaDeviceOf(device.data()).value(), 0);
  const int on_stack = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(CudaDeviceOf(&on_stack).status()));
  const auto guard = CudaDeviceGuard::Create(0);
  EXPECT_TRUE(guard.ok()) << guard.status();
}

TEST(CudaStreamTest, SynchronizesAnIdleStream) {
  if (CudaDeviceCount() == 0) GTEST_SKIP() << "no CUDA device";
  const auto stream = CudaStream::Create();
  ASSERT_TRUE(stream.ok()) << stream.status();
  EXPECT_TRUE(stream->Synchronize().ok());
}

}  // namespace
}  // namespace qc2c
