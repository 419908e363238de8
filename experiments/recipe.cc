#include "experiments/recipe.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/rpc/request_limits.h"
#include "experiments/downloads.h"
#include "experiments/yaml_fields.h"

namespace qc2c {
namespace {

constexpr uint64_t kMaxInFlight = 1 << 16;
constexpr uint64_t kMaxQuestions = 1ull << 32;

PairedSharer ReadPairedSharer(YamlFields& fields, const std::filesystem::path& folder) {
  PairedSharer sharer;
  sharer.model = RecipePath(folder, fields.Text("sharer"));
  const std::string fuser = fields.TextOr("fuser", "");
  const std::string codebook = fields.TextOr("codebook", "");
  if (!fuser.empty()) sharer.fuser = RecipePath(folder, fuser);
  if (!codebook.empty()) sharer.codebook = RecipePath(folder, codebook);
  return sharer;
}

absl::StatusOr<v1::Combine> ReadCombine(YamlFields& fields) {
  const std::string name = fields.TextOr("combine", "");
  if (name.empty()) return v1::COMBINE_UNSPECIFIED;
  const absl::StatusOr<v1::Combine> combine = CombineFromName(name);
  if (combine.ok()) return combine;
  return absl::InvalidArgumentError(
      absl::StrCat(fields.WhereIs("combine"), ": ", combine.status().message()));
}

absl::StatusOr<std::vector<uint32_t>> ReadSharers(YamlFields& fields) {
  std::vector<uint32_t> sharers;
  if (!fields.Has("sharers")) return sharers;
  for (const YAML::Node& node : fields.List("sharers")) {
    uint32_t index = 0;
    if (!node.IsScalar() || !absl::SimpleAtoi(node.Scalar(), &index) ||
        (!sharers.empty() && index <= sharers.back())) {
      return absl::InvalidArgumentError(
          absl::StrCat(fields.WhereIs("sharers"), ": expected ascending numbers from 0"));
    }
    sharers.push_back(index);
  }
  return sharers;
}

absl::StatusOr<Pair> ReadPair(const YAML::Node& node, const std::string& where,
                              const std::filesystem::path& folder) {
  YamlFields fields(node, where);
  Pair pair;
  pair.name = fields.Text("name");
  pair.receiver = RecipePath(folder, fields.Text("receiver"));
  if (!fields.Has("sharers")) {
    pair.sharers.push_back(ReadPairedSharer(fields, folder));
    RETURN_IF_ERROR(fields.Finish());
    return pair;
  }
  const YAML::Node sharers = fields.List("sharers");
  ASSIGN_OR_RETURN(const v1::Combine combine, ReadCombine(fields));
  RETURN_IF_ERROR(fields.Finish());
  pair.combine = CombineName(combine);
  for (size_t i = 0; i < sharers.size(); ++i) {
    YamlFields own(sharers[i], absl::StrCat(fields.WhereIs("sharers"), "[", i, "]"));
    pair.sharers.push_back(ReadPairedSharer(own, folder));
    RETURN_IF_ERROR(own.Finish());
    if (pair.sharers[i].fuser.empty() == pair.sharers[0].fuser.empty()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(own.WhereIs("fuser"), ": expected one for each sharer, or none"));
  }
  return pair;
}

// The items of a point's `schedule`, {layers: 0-7, scheme: int4}, perhaps with half: keys or
// values, as the lists of the codec's text.
absl::StatusOr<std::string> ReadSchedule(const YAML::Node& items, const std::string& where) {
  std::string keys, values;
  for (size_t i = 0; i < items.size(); ++i) {
    YamlFields fields(items[i], absl::StrCat(where, "[", i, "]"));
    const std::string item = fields.Text("layers") + ":" + fields.Text("scheme");
    const std::string half = fields.TextOr("half", "both");
    RETURN_IF_ERROR(fields.Finish());
    if (half != "both" && half != "keys" && half != "values") {
      return absl::InvalidArgumentError(absl::StrCat(
          fields.WhereIs("half"), ": \"", half, "\"; expected keys or values, or none for both"));
    }
    if (half != "values") absl::StrAppend(&keys, keys.empty() ? ",keys=" : "+", item);
    if (half != "keys") absl::StrAppend(&values, values.empty() ? ",values=" : "+", item);
  }
  return keys + values;
}

absl::StatusOr<Point> ReadPoint(const YAML::Node& node, const std::string& where) {
  if (node.IsScalar()) {
    absl::StatusOr<Point> point = PointFromName(node.Scalar());
    if (point.ok()) return point;
    return absl::InvalidArgumentError(absl::StrCat(where, ": ", point.status().message()));
  }
  YamlFields fields(node, where);
  Point point;
  point.name = fields.Text("name");
  std::string codec = fields.Text("codec");
  const YAML::Node schedule = fields.Has("schedule") ? fields.List("schedule") : YAML::Node();
  const std::string mode = fields.TextOr("mode", "fused");
  ASSIGN_OR_RETURN(point.sharers, ReadSharers(fields));
  ASSIGN_OR_RETURN(point.combine, ReadCombine(fields));
  RETURN_IF_ERROR(fields.Finish());
  if (point.name.empty() || point.name.find_first_of("/.") != std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": field \"name\" is \"", point.name, "\"; it names a file"));
  }
  ASSIGN_OR_RETURN(const std::string lists, ReadSchedule(schedule, fields.WhereIs("schedule")));
  codec += lists;
  const absl::StatusOr<CodecSpec> spec = CodecSpec::Parse(codec);
  if (!spec.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": field \"codec\": ", spec.status().message()));
  }
  const absl::StatusOr<v1::Mode> named = ModeFromName(mode);
  if (!named.ok() || !SharesCache(*named)) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": field \"mode\" is \"", mode, "\"; expected fused or prefix"));
  }
  point.mode = *named;
  point.codec = *spec;
  return point;
}

absl::StatusOr<Dataset> ReadDataset(const YAML::Node& node, const std::string& where,
                                    const std::filesystem::path& folder) {
  YamlFields fields(node, where);
  Dataset dataset;
  dataset.name = fields.Text("name");
  dataset.questions_path = RecipePath(folder, fields.Text("questions"));
  dataset.format_path = RecipePath(folder, fields.Text("format"));
  dataset.limit = fields.CountOr("limit", 0, 0, kMaxQuestions);
  const std::string method = fields.TextOr("method", "generate");
  dataset.max_new_tokens =
      static_cast<uint32_t>(fields.CountOr("max_new_tokens", 64, 1, kMaxNewTokens));
  const YAML::Node points = fields.List("points");
  RETURN_IF_ERROR(fields.Finish());
  if (dataset.name.empty() || dataset.name.find_first_of("/.") != std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": field \"name\" is \"", dataset.name, "\"; it names files"));
  }
  ASSIGN_OR_RETURN(dataset.method, MethodFromName(method));
  std::set<std::string> names;
  for (size_t i = 0; i < points.size(); ++i) {
    const std::string at = absl::StrCat(fields.WhereIs("points"), "[", i, "]");
    ASSIGN_OR_RETURN(Point point, ReadPoint(points[i], at));
    if (!names.insert(point.name).second) {
      return absl::InvalidArgumentError(absl::StrCat(at, ": \"", point.name, "\" comes twice"));
    }
    dataset.points.push_back(std::move(point));
  }
  return dataset;
}

absl::Status CheckDataset(const Dataset& dataset) {
  const auto refuse = [&](const std::string& problem) {
    return absl::InvalidArgumentError(absl::StrCat("dataset ", dataset.name, ": ", problem));
  };
  if (dataset.questions.front().is_open() && dataset.method != v1::ANSWER_METHOD_GENERATE) {
    return refuse(absl::StrCat("method ", MethodName(dataset.method),
                               " needs choices; open questions are answered by generate"));
  }
  for (const Question& question : dataset.questions) {
    if (!dataset.format.NeedsFact() || !question.fact.empty()) continue;
    return refuse(absl::StrCat("question \"", question.id, "\" has no field \"fact\", which ",
                               dataset.format_path.string(), " needs"));
  }
  for (const Point& point : dataset.points) {
    if (point.mode == v1::MODE_TEXT && !dataset.format.text_relay) {
      return refuse(absl::StrCat("point ", point.name, " needs text_relay in ",
                                 dataset.format_path.string()));
    }
    const bool needs_context =
        point.mode == v1::MODE_PREFIX || point.context_reader == Point::ContextReader::kReceiver;
    if (needs_context && dataset.format.sharer_context.empty()) {
      return refuse(absl::StrCat("point ", point.name, " needs sharer_context in ",
                                 dataset.format_path.string()));
    }
    if (point.control == v1::CONTROL_WRONG_QUESTION && dataset.questions.size() < 2) {
      return refuse(absl::StrCat("point ", point.name, " needs two questions"));
    }
  }
  return absl::OkStatus();
}

void EmitFormat(YAML::Emitter& out, const PromptFormat& format) {
  out << YAML::Key << "format" << YAML::Value << YAML::BeginMap;
  // Fields that came later are written only where they say something: older run folders stay their
  // recipes'.
  if (format.prompt_template == PromptFormat::Template::kNone) {
    out << YAML::Key << "template" << YAML::Value << "none";
  }
  out << YAML::Key << "system" << YAML::Value << YAML::DoubleQuoted << format.system;
  out << YAML::Key << "user" << YAML::Value << YAML::DoubleQuoted << format.user;
  out << YAML::Key << "choice" << YAML::Value << YAML::DoubleQuoted << format.choice;
  out << YAML::Key << "option" << YAML::Value << YAML::DoubleQuoted << format.option;
  out << YAML::Key << "reply_prefix" << YAML::Value << YAML::DoubleQuoted << format.reply_prefix;
  if (format.choice_separator != "\n") {
    out << YAML::Key << "choice_separator" << YAML::Value << YAML::DoubleQuoted
        << format.choice_separator;
  }
  if (format.extract != Extraction::kExact) {
    out << YAML::Key << "extract" << YAML::Value << ExtractionName(format.extract);
  }
  if (!format.sharer_context.empty()) {
    out << YAML::Key << "sharer_context" << YAML::Value << YAML::DoubleQuoted
        << format.sharer_context;
  }
  if (const auto& answer = format.sharer_answer) {
    out << YAML::Key << "sharer_answer" << YAML::Value << YAML::BeginMap;
    out << YAML::Key << "max_new_tokens" << YAML::Value << answer->max_new_tokens;
    out << YAML::Key << "extract" << YAML::Value << ExtractionName(answer->extract);
    out << YAML::EndMap;
  }
  if (const auto& relay = format.text_relay) {
    out << YAML::Key << "text_relay" << YAML::Value << YAML::BeginMap;
    out << YAML::Key << "sharer_user" << YAML::Value << YAML::DoubleQuoted << relay->sharer_user;
    out << YAML::Key << "sharer_reply_prefix" << YAML::Value << YAML::DoubleQuoted
        << relay->sharer_reply_prefix;
    out << YAML::Key << "sharer_max_new_tokens" << YAML::Value << relay->sharer_max_new_tokens;
    out << YAML::Key << "receiver_user" << YAML::Value << YAML::DoubleQuoted
        << relay->receiver_user;
    out << YAML::EndMap;
  }
  out << YAML::EndMap;
}

std::string HashOfQuestions(const std::vector<Question>& questions) {
  Hasher hasher;
  const auto add = [&](const std::string& text) {
    hasher.AddU64(text.size());
    hasher.Add(AsBytes(text));
  };
  for (const Question& question : questions) {
    add(question.id);
    add(question.text);
    for (const Choice& choice : question.choices) {
      add(choice.letter);
      add(choice.text);
    }
    add(question.answer);
    if (!question.fact.empty()) add(question.fact);
  }
  return HashText(hasher.Digest());
}

void EmitDataset(YAML::Emitter& out, const Dataset& dataset) {
  out << YAML::BeginMap;
  out << YAML::Key << "name" << YAML::Value << dataset.name;
  out << YAML::Key << "questions" << YAML::Value << dataset.questions_path.filename().string();
  out << YAML::Key << "questions_hash" << YAML::Value << HashOfQuestions(dataset.questions);
  out << YAML::Key << "num_questions" << YAML::Value << dataset.questions.size();
  EmitFormat(out, dataset.format);
  out << YAML::Key << "method" << YAML::Value << MethodName(dataset.method);
  out << YAML::Key << "max_new_tokens" << YAML::Value << dataset.max_new_tokens;
  out << YAML::Key << "points" << YAML::Value << YAML::BeginSeq;
  for (const Point& point : dataset.points) {
    out << YAML::Flow << YAML::BeginMap << YAML::Key << "name" << YAML::Value << point.name;
    out << YAML::Key << "mode" << YAML::Value << ModeName(point.mode);
    if (point.codec) {
      out << YAML::Key << "codec" << YAML::Value << YAML::DoubleQuoted << point.codec->ToString();
    }
    if (!point.sharers.empty()) {
      out << YAML::Key << "sharers" << YAML::Value << YAML::Flow << point.sharers;
    }
    if (point.combine != v1::COMBINE_UNSPECIFIED) {
      out << YAML::Key << "combine" << YAML::Value << CombineName(point.combine);
    }
    out << YAML::EndMap;
  }
  out << YAML::EndSeq << YAML::EndMap;
}

}  // namespace

absl::StatusOr<v1::AnswerMethod> MethodFromName(const std::string& name) {
  if (name == "generate") return v1::ANSWER_METHOD_GENERATE;
  if (name == "logits") return v1::ANSWER_METHOD_LOGITS;
  if (name == "loglikelihood") return v1::ANSWER_METHOD_LOGLIKELIHOOD;
  return absl::InvalidArgumentError(
      absl::StrCat("method is \"", name, "\"; expected generate, logits or loglikelihood"));
}

std::string MethodName(v1::AnswerMethod method) {
  switch (method) {
    case v1::ANSWER_METHOD_LOGITS:
      return "logits";
    case v1::ANSWER_METHOD_LOGLIKELIHOOD:
      return "loglikelihood";
    default:
      return "generate";
  }
}

absl::StatusOr<Recipe> Recipe::Load(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const YAML::Node node, LoadYaml(path));
  const std::filesystem::path folder = path.parent_path();
  YamlFields fields(node, path.string());
  Recipe recipe;
  recipe.name = fields.Text("name");
  recipe.in_flight = static_cast<uint32_t>(fields.CountOr("in_flight", 64, 1, kMaxInFlight));
  recipe.versus = fields.TextOr("versus", "bf16");
  recipe.note = fields.TextOr("note", "");
  const YAML::Node pairs = fields.Has("pairs") ? fields.List("pairs") : YAML::Node();
  const YAML::Node datasets = fields.List("datasets");
  RETURN_IF_ERROR(fields.Finish());
  for (size_t i = 0; i < pairs.size(); ++i) {
    const std::string where = absl::StrCat(fields.WhereIs("pairs"), "[", i, "]");
    ASSIGN_OR_RETURN(Pair pair, ReadPair(pairs[i], where, folder));
    recipe.pairs.push_back(std::move(pair));
  }
  std::set<std::string> names;
  for (size_t i = 0; i < datasets.size(); ++i) {
    const std::string where = absl::StrCat(fields.WhereIs("datasets"), "[", i, "]");
    ASSIGN_OR_RETURN(Dataset dataset, ReadDataset(datasets[i], where, folder));
    if (!names.insert(dataset.name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": field \"name\": \"", dataset.name, "\" comes twice"));
    }
    recipe.datasets.push_back(std::move(dataset));
  }
  return recipe;
}

absl::Status Recipe::LoadDatasets() {
  for (Dataset& dataset : datasets) {
    ASSIGN_OR_RETURN(dataset.format, PromptFormat::Load(dataset.format_path));
    ASSIGN_OR_RETURN(dataset.questions, LoadQuestions(dataset.questions_path, dataset.limit));
    RETURN_IF_ERROR(CheckDataset(dataset));
  }
  return absl::OkStatus();
}

std::string Recipe::Resolved() const {
  YAML::Emitter out;
  out << YAML::BeginMap << YAML::Key << "name" << YAML::Value << name;
  out << YAML::Key << "versus" << YAML::Value << versus;
  out << YAML::Key << "in_flight" << YAML::Value << in_flight;
  out << YAML::Key << "datasets" << YAML::Value << YAML::BeginSeq;
  for (const Dataset& dataset : datasets) EmitDataset(out, dataset);
  out << YAML::EndSeq << YAML::EndMap;
  return std::string(out.c_str()) + "\n";
}

absl::StatusOr<Pair> Recipe::FindPair(const std::string& wanted) const {
  std::vector<std::string> names;
  for (const Pair& pair : pairs) {
    if (wanted.empty() || pair.name == wanted) return pair;
    names.push_back(pair.name);
  }
  return absl::NotFoundError(absl::StrCat("recipe ", name, " has no pair \"", wanted,
                                          "\"; it has: ", absl::StrJoin(names, ", ")));
}

}  // namespace qc2c
