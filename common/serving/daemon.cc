#include "common/serving/daemon.h"

#include <ATen/Parallel.h>

#include <cstdio>
#include <iostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "common/base/status_macros.h"
#include "common/obs/http_endpoint.h"
#include "common/obs/log.h"
#include "common/rpc/exit_code.h"

#ifdef QC2C_ENABLE_CUDA
#include <c10/cuda/CUDACachingAllocator.h>

#include "common/cuda/cuda_buffer.h"
#endif

namespace qc2c {

absl::Status PrepareProcess(const DaemonOptions& options) {
  ASSIGN_OR_RETURN(const LogLevel level, ParseLogLevel(options.log_level));
  ASSIGN_OR_RETURN(const LogFormat format, ParseLogFormat(options.log_format));
  InitLog({.level = level, .format = format});
  if (options.threads > 0) at::set_num_threads(options.threads);
#ifdef QC2C_ENABLE_CUDA
  SetReturnUnused([] { c10::cuda::CUDACachingAllocator::emptyCache(); });
#endif
  return absl::OkStatus();
}

RemoteAccess AccessOf(const DaemonOptions& options) {
  return options.insecure_remote == "on" ? RemoteAccess::kAllowInsecureRemote
                                         : RemoteAccess::kRefuse;
}

absl::Status Serve(const DaemonOptions& options, const Serving& serving) {
  ASSIGN_OR_RETURN(Address address, ParseAddress(options.listen));
  std::unique_ptr<HttpEndpoint> page;
  if (!options.metrics.empty()) {
    ASSIGN_OR_RETURN(
        page, HttpEndpoint::Start(options.metrics, [&] { return serving.metrics.Serialize(); }));
  }
  ServerOptions server_options{
      .address = std::move(address),
      .access = AccessOf(options),
      .reflection = options.reflection == "on" ? Reflection::kOn : Reflection::kOff,
      .grace = absl::Milliseconds(options.grace_ms),
      .stop_admitting =
          [&] {
            if (page) page->SetHealth(Health::kDraining);
            serving.stop_admitting();
          },
      .busy = serving.busy};
  ASSIGN_OR_RETURN(std::unique_ptr<ServerHost> host,
                   ServerHost::Start(std::move(server_options), {serving.service}));
  std::string line = absl::StrCat(serving.program, " ready address=", host->address().ToString());
  if (page) absl::StrAppend(&line, " metrics=", page->address());
  for (const auto& [key, value] : serving.ready) absl::StrAppend(&line, " ", key, "=", value);
  std::cout << line << std::endl;
  host->Wait();
  return absl::OkStatus();
}

namespace {

// A misspelt flag explains why a required one is missing, so it is named too.
std::string Explanation(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<std::string> unknown = app.remaining();
  if (unknown.empty() || dynamic_cast<const CLI::RequiredError*>(&error) == nullptr) {
    return error.what();
  }
  return absl::StrCat(error.what(), "; not expected: ", absl::StrJoin(unknown, " "));
}

}  // namespace

int RunProgram(CLI::App& app, int argc, char** argv, const std::function<absl::Status()>& body) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    std::cerr << app.get_name() << ": " << Explanation(app, error) << "\nSee " << app.get_name()
              << " --help.\n";
    const bool no_config_file = dynamic_cast<const CLI::FileError*>(&error) != nullptr;
    return static_cast<int>(no_config_file ? ExitCode::kNoInput : ExitCode::kUsage);
  }
  const absl::Status status = body();
  ShutdownLog();
  if (status.ok()) return static_cast<int>(ExitCode::kOk);
  std::cerr << app.get_name() << ": " << std::string(status.message()) << "\n";
  return static_cast<int>(ToExitCode(status));
}

}  // namespace qc2c
