// `qc2c bench`: measurements that need no daemons.
#pragma once

namespace CLI {
class App;
}

namespace qc2c {

// Adds `bench` with its subcommand `codec`, which runs during CLI::App::parse and throws
// CLI::RuntimeError unless all went well.
void AddBenchCommand(CLI::App& app);

}  // namespace qc2c
