#include "experiments/manifest.h"

#include <google/protobuf/stubs/common.h>
#include <grpcpp/grpcpp.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "experiments/point.h"
#include "experiments/project_files.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;

// The value of the first "key : value" line of a file under /proc.
std::string ProcField(const char* file, const std::string& key) {
  std::ifstream lines(file);
  std::string line;
  while (std::getline(lines, line)) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos || !line.starts_with(key)) continue;
    return std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
  }
  return "unknown";
}

std::string OsName() {
  std::ifstream lines("/etc/os-release");
  std::string line;
  while (std::getline(lines, line)) {
    if (line.starts_with("PRETTY_NAME=")) {
      std::string name = line.substr(12);
      std::erase(name, '"');
      return name;
    }
  }
  return "unknown";
}

// The file in a bundle or container: a repository above them would be another one.
std::string RevisionFile() {
  const absl::StatusOr<std::filesystem::path> project = ProjectFolder();
  std::string revision;
  if (project.ok()) std::getline(std::ifstream(*project / "REVISION"), revision);
  return revision;
}

std::string GitVersion() {
  setenv("QC2C_PROGRAM_FOLDER", ProgramFolder().c_str(), 1);
  const std::unique_ptr<FILE, int (*)(FILE*)> git(
      // NOLINTNEXTLINE(bugprone-command-processor): a constant; the folder goes by the environment
      popen("git -C \"$QC2C_PROGRAM_FOLDER\" describe --always --dirty --tags 2>/dev/null", "r"),
      pclose);
  std::array<char, 256> line = {};
  if (git == nullptr || std::fgets(line.data(), line.size(), git.get()) == nullptr)
    return "unknown";
  return std::string(absl::StripAsciiWhitespace(line.data()));
}

Json CardToJson(const v1::ModelCard& card) {
  Json json = {{"model", card.model()},
               {"architecture", card.architecture()},
               {"fingerprint", HashText(card.model_fingerprint())},
               {"layers", card.layout().num_layers()},
               {"kv_heads", card.layout().num_kv_heads()},
               {"head_dim", card.layout().head_dim()},
               {"tokenizer", HashText(card.tokenizer_hash())},
               {"device", card.device()},
               {"dtype", card.dtype()}};
  // A codec may leave open which of these it means.
  for (const uint64_t id : card.codebooks()) json["codebooks"].push_back(HashText(id));
  for (const uint64_t id : card.calibrations()) json["calibrations"].push_back(HashText(id));
  return json;
}

}  // namespace

Json CodeManifest() {
  const std::string revision = RevisionFile();
  return {{"version", QC2C_VERSION},
          {"git", revision.empty() ? GitVersion() : revision},
          {"compiler", QC2C_COMPILER},
          {"grpc", grpc::Version()},
          {"protobuf", google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION)}};
}

Json MachineManifest() {
  utsname system = {};
  uname(&system);
  return {{"cpu", ProcField("/proc/cpuinfo", "model name")},
          {"cores", std::thread::hardware_concurrency()},
          {"memory", ProcField("/proc/meminfo", "MemTotal")},
          {"os", OsName()},
          {"kernel", absl::StrCat(system.sysname, " ", system.release, " ", system.machine)}};
}

Json ModelManifest(const v1::ReceiverCard& card) {
  Json layer_map = Json::array();
  for (const uint32_t layer : card.layer_map()) layer_map.push_back(layer);
  Json models = {{"receiver", CardToJson(card.receiver())},
                 {"sharer", CardToJson(card.sharer())},
                 {"fuser", HashText(card.fuser_fingerprint())},
                 {"layer_map", layer_map}};
  if (!card.alignment().empty()) models["alignment"] = card.alignment();
  if (card.sharers_size() < 2) return models;
  models["combine"] = CombineName(card.combine());
  for (const v1::ReceiverCard::Sharer& sharer : card.sharers()) {
    models["sharers"].push_back({{"sharer", CardToJson(sharer.card())},
                                 {"fuser", HashText(sharer.fuser_fingerprint())},
                                 {"alignment", sharer.alignment()}});
  }
  return models;
}

}  // namespace qc2c
