// fuzz_seeds DIR: writes valid inputs for each fuzzer into DIR/<fuzzer>, for corpora to grow from.
#include <cstdio>
#include <filesystem>
#include <random>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/codec/entropy.h"
#include "common/codec/entropy_tables.h"
#include "common/codec/rans.h"
#include "common/codec/scheme_registry.h"
#include "common/codec/test_codebook.h"
#include "common/wire/klt_frame.h"
#include "tests/fuzz/fuzz_codecs.h"

namespace qc2c {
namespace {

namespace fs = std::filesystem;

absl::Status WriteSeed(const fs::path& path, const std::vector<uint8_t>& head, ByteSpan rest) {
  std::string bytes(head.begin(), head.end());
  bytes.append(rest.begin(), rest.end());
  return WriteFileAtomically(path, bytes);
}

// Each codec's stream: with its own checksum, and with one that the fuzzer repairs.
absl::Status WriteFrames(const fs::path& folder) {
  for (size_t i = 0; i < std::size(kFuzzCodecs); ++i) {
    ASSIGN_OR_RETURN(const auto messages,
                     WriteFrame(RandomFrame(kFuzzCodecs[i], kFuzzShape), kMinChunkBytes));
    std::string stream;
    for (const std::string& message : messages) {
      stream += static_cast<char>(message.size());
      stream += static_cast<char>(message.size() >> 8);
      stream += message;
    }
    for (const int repair : {0, 0x80}) {
      RETURN_IF_ERROR(WriteSeed(folder / absl::StrCat("seed-", i, "-", repair),
                                {static_cast<uint8_t>(i | repair)}, AsBytes(stream)));
    }
  }
  return absl::OkStatus();
}

absl::Status WriteDecoderInputs(const fs::path& folder) {
  for (size_t i = 0; i < std::size(kFuzzCodecs); ++i) {
    const KvFrame frame =
        RandomFrame(kFuzzCodecs[i], {.layout = {.num_layers = 1, .num_kv_heads = 2, .head_dim = 7},
                                     .num_tokens = 12,
                                     .layers = {.keys = {0}, .values = {0}}});
    std::vector<uint8_t> head = {static_cast<uint8_t>(i), 0, 1, 6, 12, 3};
    uint32_t before = 0;
    for (const uint32_t position : frame.positions) {
      head.push_back(static_cast<uint8_t>(position - before));
      before = position;
    }
    RETURN_IF_ERROR(WriteSeed(folder / absl::StrCat("seed-", i), head, frame.data));
  }
  return absl::OkStatus();
}

// Mostly zero bits, so that there is something to code.
std::vector<uint8_t> SparseBytes(size_t num, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> bytes(num, 0);
  for (uint8_t& byte : bytes) byte = random() % 5 == 0 ? 1 << random() % 8 : 0;
  return bytes;
}

absl::Status WriteCodes(const fs::path& folder) {
  for (size_t e = 0; e < std::size(kAllEntropies); ++e) {
    for (size_t s = 0; s < AllSchemes().size(); ++s) {
      const SchemeCoder& coder = *AllSchemes()[s].coder;
      if (!CanCode(kAllEntropies[e], coder.scheme())) continue;
      const std::vector<uint8_t> codes = SparseBytes(9 * coder.RowBytes(64), 1);
      RETURN_IF_ERROR(WriteSeed(folder / absl::StrCat("seed-", e, "-", s),
                                {static_cast<uint8_t>(e), static_cast<uint8_t>(s), 2, 8},
                                EncodeCodes(kAllEntropies[e], {coder.scheme(), 64}, codes)));
    }
  }
  // Two segments.
  const CodeSource binary = {Scheme::kBinary, 1024};
  const std::vector<uint8_t> codes(66 * 128, 0);
  return WriteSeed(folder / "seed-segments", {1, 11, 3, 65},
                   EncodeCodes(Entropy::kRans, binary, codes));
}

absl::Status WriteRansStreams(const fs::path& folder) {
  const auto tables = EntropyTables(CodeForm::kTwosComplement, 4);
  std::mt19937 random(1);
  for (uint8_t lanes = 0; lanes < 3; ++lanes) {
    std::vector<uint8_t> tables_of, symbols;
    for (int i = 0; i < 60; ++i) {
      tables_of.push_back(random() % 60);
      symbols.push_back(tables[tables_of.back()].SymbolAt(random() % (1 << kRansBits)));
    }
    constexpr int kLanes[] = {1, 8, 32};
    ASSIGN_OR_RETURN(const auto stream, RansEncode(symbols, tables_of, tables, kLanes[lanes]));
    std::vector<uint8_t> head = {lanes, 60, 0};
    head.insert(head.end(), tables_of.begin(), tables_of.end());
    RETURN_IF_ERROR(WriteSeed(folder / absl::StrCat("seed-", lanes), head, stream));
  }
  return absl::OkStatus();
}

// Each level as a message and as codes; the second prompt's values are beyond the tables.
absl::Status WriteKlt(const fs::path& folder) {
  const KltCodebook book = TestCodebook();
  for (const int scale : {1, 30}) {
    const TestPrompt prompt(3, static_cast<float>(scale));
    ASSIGN_OR_RETURN(KltEncoder encoder, KltEncoder::Create(book, prompt.prompt(), prompt.view()));
    for (uint32_t level = 0; level < book.levels.size(); ++level) {
      ASSIGN_OR_RETURN(const KvFrame frame, encoder.Encode(level));
      ASSIGN_OR_RETURN(const std::string message, WriteKltFrame(frame));
      const std::string name = absl::StrCat(level, "-", scale);
      RETURN_IF_ERROR(WriteSeed(folder / absl::StrCat("message-", name), {2, 3}, AsBytes(message)));
      const std::vector<uint8_t> head = {1, 3, static_cast<uint8_t>(level),
                                         static_cast<uint8_t>(frame.num_escape_bytes),
                                         static_cast<uint8_t>(frame.num_escape_bytes >> 8)};
      RETURN_IF_ERROR(WriteSeed(folder / absl::StrCat("codes-", name), head, frame.data));
    }
  }
  return absl::OkStatus();
}

absl::Status WriteSeeds(const fs::path& folder) {
  RETURN_IF_ERROR(WriteFrames(folder / "frame_fuzzer"));
  RETURN_IF_ERROR(WriteDecoderInputs(folder / "decoder_fuzzer"));
  RETURN_IF_ERROR(WriteKlt(folder / "klt_fuzzer"));
  RETURN_IF_ERROR(WriteCodes(folder / "codes_fuzzer"));
  return WriteRansStreams(folder / "rans_fuzzer");
}

}  // namespace
}  // namespace qc2c

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: fuzz_seeds DIR\n");
    return 64;
  }
  const absl::Status status = qc2c::WriteSeeds(argv[1]);
  if (status.ok()) return 0;
  std::fprintf(stderr, "fuzz_seeds: %s\n", std::string(status.message()).c_str());
  return 70;
}
