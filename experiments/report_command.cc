// `qc2c report` and `qc2c plot`: what a run folder says.
#include <iostream>
#include <memory>

#include "common/base/status_macros.h"
#include "experiments/commands.h"
#include "experiments/plot.h"
#include "experiments/report.h"

namespace qc2c {
namespace {

struct ReportFlags {
  std::string folder;
  bool markdown = false;
};

absl::Status PrintReport(const ReportFlags& flags) {
  ASSIGN_OR_RETURN(const Report report, MakeReport(flags.folder));
  std::cout << (flags.markdown ? report.markdown : report.terminal) << std::flush;
  return absl::OkStatus();
}

}  // namespace

void AddReportCommand(CLI::App& app) {
  CLI::App* command = app.add_subcommand("report", "Print the tables of a run folder");
  const auto flags = std::make_shared<ReportFlags>();
  command->add_option("DIR", flags->folder, "the run folder")->required();
  command->add_flag("--markdown", flags->markdown, "as Markdown");
  command->callback([flags] { ExitUnlessOk("report", PrintReport(*flags)); });
}

void AddPlotCommand(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("plot", "Draw accuracy against measured bytes: curve.png and curve.pdf");
  const auto flags = std::make_shared<PlotOptions>();
  AddPythonFlag(*command, flags->python);
  command->add_option("DIR", flags->folders, "run folders; more than one are drawn together")
      ->required();
  command->add_option("--out", flags->out,
                      "where the files go; default: results/ of the first run folder");
  command->callback([flags] { ExitUnlessOk("plot", Plot(*flags)); });
}

}  // namespace qc2c
