// The codebook's file: a safetensors file whose metadata say what its tensors mean.
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/bounded_json.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/codec/klt_codebook.h"
#include "common/codec/klt_codebook_fields.h"
#include "common/codec/klt_transform.h"
#include "common/tensor/safetensors_view.h"

namespace qc2c {
namespace {

using Json = nlohmann::json;

constexpr char kMetadataKey[] = "qc2c_codebook";
constexpr int64_t kFileVersion = 1;
constexpr size_t kMaxComponents = 4096;
constexpr size_t kMaxLevels = 64;
constexpr int kMaxExponent = 256;

absl::Status ReadLevels(const Json& list, const std::string& file, KltCodebook& book) {
  if (list.empty() || list.size() > kMaxLevels) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": levels has ", list.size(), " entries: expected 1 to ", kMaxLevels));
  }
  const auto num_tail = static_cast<int64_t>(book.prompt_template.num_tail());
  for (const Json& item : list) {
    const std::string where = absl::StrCat(file, ": levels[", book.levels.size(), "]");
    CodebookFields fields(item, where);
    KltLevel level;
    level.last_tokens = static_cast<uint32_t>(fields.Int("last_tokens", 0, num_tail));
    level.middle_step = fields.OptionalInt("middle_step", -kMaxExponent, kMaxExponent);
    level.tail_step = fields.OptionalInt("tail_step", -kMaxExponent, kMaxExponent);
    level.joint_step = fields.OptionalInt("joint_step", -kMaxExponent, kMaxExponent);
    RETURN_IF_ERROR(fields.status());
    if (level.last_tokens != 0 && level.middle_step) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": has a middle_step, but no middle with last_tokens"));
    }
    const bool has_joint =
        book.joint_tokens > 0 && (level.last_tokens == 0 || level.last_tokens >= book.joint_tokens);
    if (level.joint_step && !has_joint) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": has a joint_step, but not the joint_tokens"));
    }
    book.levels.push_back(level);
  }
  return absl::OkStatus();
}

absl::Status ReadMetadata(const Json& json, const std::string& file, KltCodebook& book) {
  CodebookFields fields(json, absl::StrCat(file, ": metadata"));
  fields.Int("version", kFileVersion, kFileVersion);
  CodebookFields sharer(fields.Object("sharer"), absl::StrCat(file, ": metadata.sharer"));
  RETURN_IF_ERROR(fields.status());
  book.sharer_model = sharer.Text("model");
  book.sharer_fingerprint = sharer.Hash("fingerprint");
  book.layout.num_layers = static_cast<int32_t>(sharer.Int("num_layers", 1, KvLayout::kMaxLayers));
  book.layout.num_kv_heads =
      static_cast<int32_t>(sharer.Int("num_kv_heads", 1, KvLayout::kMaxKvHeads));
  book.layout.head_dim = static_cast<int32_t>(sharer.Int("head_dim", 1, KvLayout::kMaxHeadDim));
  RETURN_IF_ERROR(sharer.status());
  book.fuser_fingerprint = fields.Hash("fuser");
  book.layers.keys = fields.Ints<int32_t>("key_layers", 0, KvLayout::kMaxLayers);
  book.layers.values = fields.Ints<int32_t>("value_layers", 0, KvLayout::kMaxLayers);
  book.rotation.of_layer = fields.Ints<uint32_t>("rotation_of_layer", 0, KvLayout::kMaxLayers);
  constexpr int64_t kMaxId = INT32_MAX;
  KltTemplate& common = book.prompt_template;
  common.prefix_ids = fields.Ints<int32_t>("prefix_ids", 0, kMaxId);
  common.prefix_positions = fields.Ints<uint32_t>("prefix_positions", 0, KvLayout::kMaxTokens - 1);
  common.tail_ids = fields.Ints<int32_t>("tail_ids", 0, kMaxId);
  common.tail_distances = fields.Ints<uint32_t>("tail_distances", 0, KvLayout::kMaxTokens - 1);
  book.joint_tokens =
      static_cast<uint32_t>(fields.Int("joint_tokens", 0, static_cast<int64_t>(common.num_tail())));
  const Json& levels = fields.List("levels");
  RETURN_IF_ERROR(fields.status());
  const auto in_file = [&](const absl::Status& status) {
    return status.ok() ? status
                       : absl::InvalidArgumentError(
                             absl::StrCat(file, ": metadata: ", std::string(status.message())));
  };
  RETURN_IF_ERROR(in_file(book.layers.Validate(book.layout)));
  RETURN_IF_ERROR(in_file(common.Validate()));
  return ReadLevels(levels, file, book);
}

absl::Status ReadBasis(const std::string& name, size_t dim, CodebookTensors& tensors,
                       KltBasis& basis) {
  basis.dim = dim;
  ASSIGN_OR_RETURN(const int64_t k, tensors.FirstDimension(name + ".sigma", kMaxComponents));
  const std::vector<int64_t> shape = {k, static_cast<int64_t>(dim)};
  std::vector<float> matrix;
  RETURN_IF_ERROR(tensors.Floats(name + ".analysis", shape, matrix));
  basis.analysis = PackComponents(matrix, k, dim);
  RETURN_IF_ERROR(tensors.Floats(name + ".synthesis", shape, matrix));
  basis.synthesis = PackDimensions(matrix, k, dim);
  ASSIGN_OR_RETURN(basis.sigma, tensors.Shorts(name + ".sigma", {k}, -kMaxExponent, kMaxExponent));
  ASSIGN_OR_RETURN(const auto shapes, tensors.Shorts(name + ".shape", {k}, 0, kKltNumShapes - 1));
  basis.shape.assign(shapes.begin(), shapes.end());
  for (size_t i = 1; i < basis.size(); ++i) {
    if (basis.sigma[i] > basis.sigma[i - 1]) {
      return tensors.Refuse(name + ".sigma", absl::StrCat("ascends at ", i));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadTables(CodebookTensors& tensors, std::vector<RansTable>& tables) {
  constexpr char kName[] = "tables";
  ASSIGN_OR_RETURN(
      const auto values,
      tensors.Shorts(kName, {kKltNumShapes, kKltNumSpreads, kKltNumSymbols}, 0, 1 << kRansBits));
  for (int t = 0; t < kKltNumShapes * kKltNumSpreads; ++t) {
    const auto begin = values.begin() + t * kKltNumSymbols;
    const std::vector<uint16_t> frequencies(begin, begin + kKltNumSymbols);
    absl::StatusOr<RansTable> table = RansTable::Create(frequencies);
    if (!table.ok()) {
      return tensors.Refuse(kName, absl::StrCat(t, ": ", std::string(table.status().message())));
    }
    if (frequencies[kKltEscape] == 0) {
      return tensors.Refuse(kName, absl::StrCat(t, ": the escape has frequency 0"));
    }
    tables.push_back(*std::move(table));
  }
  for (int bits = 1; bits <= kKltMaxLowBits; ++bits) {
    const std::vector<uint16_t> uniform(size_t{1} << bits, uint16_t{1} << (kRansBits - bits));
    ASSIGN_OR_RETURN(RansTable table, RansTable::Create(uniform));
    tables.push_back(std::move(table));
  }
  return absl::OkStatus();
}

// A component far above the step would need more low bits than there are tables for.
absl::Status CheckSteps(const KltCodebook& book, const std::string& file) {
  const auto check = [&](size_t level, const char* field, const std::optional<int>& step,
                         const KltBasis& basis) -> absl::Status {
    if (!step || basis.size() == 0) return absl::OkStatus();
    if (basis.sigma.front() - *step <= kKltReach) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(file, ": levels[", level, "].", field, " is ",
                                                   *step, ": expected at least ",
                                                   basis.sigma.front() - kKltReach));
  };
  for (size_t i = 0; i < book.levels.size(); ++i) {
    for (const Half half : {Half::kKey, Half::kValue}) {
      const auto h = static_cast<size_t>(half);
      RETURN_IF_ERROR(check(i, "middle_step", book.levels[i].middle_step, book.middle[h]));
      RETURN_IF_ERROR(check(i, "tail_step", book.levels[i].tail_step, book.tail[h]));
    }
    RETURN_IF_ERROR(check(i, "joint_step", book.levels[i].joint_step, book.joint));
  }
  return absl::OkStatus();
}

absl::Status ReadRotation(CodebookTensors& tensors, const std::string& file, KltCodebook& book) {
  constexpr char kName[] = "rotation.frequencies";
  ASSIGN_OR_RETURN(const int64_t lists, tensors.FirstDimension(kName, KvLayout::kMaxLayers));
  const size_t half = book.layout.head_dim / 2;
  std::vector<float> values;
  RETURN_IF_ERROR(tensors.Floats(kName, {lists, static_cast<int64_t>(half)}, values));
  for (int64_t i = 0; i < lists; ++i) {
    book.rotation.frequencies.emplace_back(values.begin() + i * half,
                                           values.begin() + (i + 1) * half);
  }
  const absl::Status status = book.rotation.Validate(book.layout);
  if (status.ok()) return status;
  return absl::InvalidArgumentError(
      absl::StrCat(file, ": rotation: ", std::string(status.message())));
}

absl::Status ReadTensors(CodebookTensors& tensors, const std::string& file, KltCodebook& book) {
  RETURN_IF_ERROR(ReadRotation(tensors, file, book));
  const auto num_prefix = static_cast<int64_t>(book.prompt_template.num_prefix());
  const auto num_tail = static_cast<int64_t>(book.prompt_template.num_tail());
  for (const Half half : {Half::kKey, Half::kValue}) {
    const std::string name = half == Half::kKey ? "keys" : "values";
    const auto h = static_cast<size_t>(half);
    const auto dim = static_cast<int64_t>(book.Dim(half));
    RETURN_IF_ERROR(tensors.Floats("prefix." + name, {num_prefix, dim}, book.prefix[h]));
    RETURN_IF_ERROR(tensors.Floats("middle." + name + ".mean", {dim}, book.middle_mean[h]));
    RETURN_IF_ERROR(tensors.Floats("tail." + name + ".mean", {num_tail, dim}, book.tail_mean[h]));
    RETURN_IF_ERROR(ReadBasis("middle." + name, dim, tensors, book.middle[h]));
    RETURN_IF_ERROR(ReadBasis("tail." + name, dim, tensors, book.tail[h]));
  }
  const size_t joint = book.joint_tokens * (book.Dim(Half::kKey) + book.Dim(Half::kValue));
  RETURN_IF_ERROR(ReadBasis("joint", joint, tensors, book.joint));
  RETURN_IF_ERROR(ReadTables(tensors, book.tables));
  return tensors.NoneLeft();
}

}  // namespace

absl::StatusOr<KltCodebook> KltCodebook::Parse(ByteSpan content, const std::string& file) {
  ASSIGN_OR_RETURN(const SafetensorsView view, ViewSafetensors(content, file));
  const auto found = view.metadata.find(kMetadataKey);
  if (found == view.metadata.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": no ", kMetadataKey, " in its metadata: expected a codebook"));
  }
  const Json json = ParseBoundedJson<Json>(found->second);
  if (json.is_discarded()) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": metadata: ", kMetadataKey,
                                                   " is not valid JSON of at most ", kMaxJsonDepth,
                                                   " levels"));
  }
  KltCodebook book;
  book.id = Hash(content);
  RETURN_IF_ERROR(ReadMetadata(json, file, book));
  CodebookTensors tensors(view, file);
  RETURN_IF_ERROR(ReadTensors(tensors, file, book));
  RETURN_IF_ERROR(CheckSteps(book, file));
  return book;
}

}  // namespace qc2c
