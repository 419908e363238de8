// `qc2c demo`: starts a sharer and a receiver, asks everything in a recipe, draws the curve, stops
// them.
#include <memory>

#include "experiments/commands.h"
#include "experiments/demo.h"
#include "experiments/plot.h"

namespace qc2c {

void AddDemoCommand(CLI::App& app, const std::string& command_line) {
  CLI::App* command = app.add_subcommand(
      "demo", "Start a sharer and a receiver, measure accuracy against bytes, draw the curve");
  const auto flags = std::make_shared<DemoOptions>();
  command->add_option("--recipe", flags->recipe,
                      "what to ask (default: experiments/recipes/demo.yaml)");
  command->add_option("--sharer", flags->pair,
                      "which of the recipe's pairs: qwen or llama (default: the first)");
  command->add_option("--out", flags->out,
                      "the run folder; an existing one is continued (default: runs/demo, or "
                      "runs/demo-SHARER)");
  command->add_option("--device", flags->device, "of both daemons: cpu or cuda[:N]");
  command->add_option("--dtype", flags->dtype, "of both models: fp32 or bf16");
  command->add_option("--threads", flags->threads, "CPU threads of each daemon")
      ->check(CLI::Range(1, 1024));
  command->add_option("--limit", flags->limit,
                      "only the first so many questions of each file; 0: all");
  command
      ->add_option("--in-flight", flags->in_flight,
                   "questions asked at a time (default: the recipe's)")
      ->check(CLI::Range(1, 1 << 16));
  AddPythonFlag(*command, flags->python);
  command->callback([flags, command_line] { ExitUnlessOk("demo", RunDemo(*flags, command_line)); });
}

}  // namespace qc2c
