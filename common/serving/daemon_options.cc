#include "common/serving/daemon_options.h"

#include <yaml-cpp/yaml.h>

#include <istream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/serving/language_model.h"

namespace qc2c {
namespace {

class YamlConfig : public CLI::Config {
 public:
  explicit YamlConfig(const CLI::App& app) : app_(app) {}

  std::string to_config(const CLI::App* app, bool, bool, std::string) const override {
    YAML::Node node;
    for (const CLI::Option* option : app->get_options()) {
      if (option->get_configurable() && option->count() > 0) {
        node[option->get_single_name()] = option->results().front();
      }
    }
    return YAML::Dump(node);
  }

  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    YAML::Node root;
    try {
      root = YAML::Load(input);
    } catch (const YAML::Exception& error) {
      throw CLI::ConversionError(absl::StrCat("--config: malformed YAML: ", error.what()));
    }
    if (root.IsNull()) return {};
    if (!root.IsMap()) {
      throw CLI::ConversionError("--config: expected a map of flag names to values");
    }
    std::vector<CLI::ConfigItem> items;
    for (const auto& entry : root) {
      if (!entry.first.IsScalar()) {
        throw CLI::ConversionError("--config: a list or a map stands where a flag's name should");
      }
      CLI::ConfigItem item;
      item.name = entry.first.as<std::string>();
      if (app_.get_option_no_throw(absl::StrCat("--", item.name)) == nullptr) {
        throw CLI::ConversionError(absl::StrCat("--config: no flag is called '", item.name, "'"));
      }
      item.inputs = Values(item.name, entry.second);
      items.push_back(std::move(item));
    }
    return items;
  }

 private:
  // A list is for a flag that may be given more than once.
  std::vector<std::string> Values(const std::string& name, const YAML::Node& node) const {
    const bool may_repeat = app_.get_option_no_throw("--" + name)->get_items_expected_max() > 1;
    if (node.IsScalar()) return {node.as<std::string>()};
    if (!may_repeat || !node.IsSequence()) {
      throw CLI::ConversionError(absl::StrCat("--config: '", name, "' must be one value"));
    }
    std::vector<std::string> values;
    for (const auto& value : node) {
      if (!value.IsScalar()) {
        throw CLI::ConversionError(absl::StrCat("--config: '", name, "' must be a list of values"));
      }
      values.push_back(value.as<std::string>());
    }
    return values;
  }

  const CLI::App& app_;
};

}  // namespace

BatchLimits DaemonOptions::Limits() const {
  return {.max_batch_tokens = max_batch_tokens,
          .max_batch_size = max_batch_size,
          .max_wait = std::chrono::microseconds(max_batch_wait_us),
          .capacity = static_cast<size_t>(max_queue)};
}

absl::StatusOr<ModelOptions> DaemonOptions::Model() const {
  ASSIGN_OR_RETURN(const at::Device parsed_device, ParseDevice(device));
  ASSIGN_OR_RETURN(const at::ScalarType parsed_dtype, ParseModelDType(dtype));
  return ModelOptions{
      parsed_device, parsed_dtype,
      cuda_graphs == "on" ? ModelOptions::Launch::kGraphs : ModelOptions::Launch::kKernels};
}

void AddDaemonFlags(CLI::App& app, DaemonOptions& options) {
  app.add_option("--model", options.model, "Model folder in Hugging Face layout")->required();
  app.add_option("--listen", options.listen, "Where to serve: unix:PATH or HOST:PORT")->required();
  app.add_option("--device", options.device, "cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--dtype", options.dtype, "Weights, activations and cache: fp32 or bf16")
      ->capture_default_str();
  app.add_option("--cuda-graphs", options.cuda_graphs,
                 "On a GPU, whether passes of few tokens run as CUDA graphs: on or off")
      ->capture_default_str()
      ->check(CLI::IsMember({"on", "off"}));
  app.add_option("--metrics", options.metrics,
                 "HOST:PORT of /metrics and /healthz; port 0 takes a free one");
  app.add_option("--threads", options.threads,
                 "Threads inside one tensor operation on the CPU; 0: one a core")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--max-batch-tokens", options.max_batch_tokens,
                 "Tokens that fill a batch, each of its prompts counted as long as its longest")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--max-batch-size", options.max_batch_size, "Requests that fill a batch")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--max-batch-wait-us", options.max_batch_wait_us,
                 "Microseconds that an unfilled batch waits for company")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--max-queue", options.max_queue,
                 "Requests that may wait; one more is refused with RESOURCE_EXHAUSTED")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--insecure-remote", options.insecure_remote,
                 "Whether addresses beyond this machine are allowed, unencrypted: on or off")
      ->capture_default_str()
      ->check(CLI::IsMember({"on", "off"}));
  app.add_option("--reflection", options.reflection, "gRPC server reflection: on or off")
      ->capture_default_str()
      ->check(CLI::IsMember({"on", "off"}));
  app.add_option("--grace-ms", options.grace_ms,
                 "Milliseconds that running requests get after SIGTERM")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--log-level", options.log_level, "debug, info, warning or error")
      ->capture_default_str()
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  app.add_option("--log-format", options.log_format, "json or text, on stderr")
      ->capture_default_str()
      ->check(CLI::IsMember({"json", "text"}));
  UseYamlConfig(app);
}

void AddCodebookFlag(CLI::App& app, std::vector<std::string>& files) {
  app.add_option("--codebook", files,
                 "Codebook of the scheme klt, as `qc2c calibrate` writes it; may be repeated")
      ->allow_extra_args(false);
}

void UseYamlConfig(CLI::App& app) {
  app.set_config("--config", "", "YAML file: flag names without dashes in front, and their values");
  app.config_formatter(std::make_shared<YamlConfig>(app));
  app.allow_config_extras(CLI::config_extras_mode::error);
}

}  // namespace qc2c
