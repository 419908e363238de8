#include "experiments/report.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "experiments/run_folder.h"
#include "experiments/text_table.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;

std::string WithThousands(double value) {
  const std::string digits = absl::StrFormat("%.0f", value);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

// Averages of a few bytes keep a decimal: 5.5 bytes of text are not 6.
std::string Bytes(double value) {
  return value == 0 ? "0" : value < 100 ? absl::StrFormat("%.1f", value) : WithThousands(value);
}

std::string AccuracyCell(const Json& row) {
  const Json& interval = row.at("ci95");
  return absl::StrFormat("%.3f [%.3f, %.3f]", row.at("accuracy").get<double>(),
                         interval.at(0).get<double>(), interval.at(1).get<double>());
}

std::string VersusCell(const Json& row) {
  if (!row.contains("versus")) return "";
  const Json& versus = row.at("versus");
  const Json& interval = versus.at("diff_ci95");
  return absl::StrFormat("%+.3f [%+.3f, %+.3f]", versus.at("diff").get<double>(),
                         interval.at(0).get<double>(), interval.at(1).get<double>());
}

std::string DivergenceCell(const Json& row) {
  if (!row.contains("versus") || !row.at("versus").contains("kl")) return "";
  return absl::StrFormat("%.4f", row.at("versus").at("kl").get<double>());
}

constexpr size_t kVersusColumn = 3;
constexpr size_t kDivergenceColumn = 4;

TextTable TableOf(const std::vector<Json>& rows, const std::string& dataset) {
  using Align = TextTable::Align;
  std::string versus;
  for (const Json& row : rows) {
    if (row.contains("versus")) versus = row.at("versus").at("point").get<std::string>();
  }
  TextTable table;
  table.columns = {{"point", Align::kLeft},
                   {"n"},
                   {"accuracy [95 %]"},
                   {absl::StrCat("to ", versus, " [95 %]")},
                   {absl::StrCat("KL to ", versus)},
                   {"bytes"},
                   {"payload"},
                   {"scales"},
                   {"indices"},
                   {"header"},
                   {"socket"},
                   {"ms"},
                   {"p50 ms"}};
  for (const Json& row : rows) {
    if (row.at("dataset") != dataset) continue;
    const Json& bytes = row.at("bytes_tx");
    const Json& latency = row.at("latency_ms");
    const auto part = [&](const char* name) {
      const Json& value = bytes.at(name);
      return value.is_null() ? "" : Bytes(value.get<double>());
    };
    table.rows.push_back({row.at("point").get<std::string>(),
                          WithThousands(row.at("n").get<double>()), AccuracyCell(row),
                          VersusCell(row), DivergenceCell(row), part("mean"), part("payload"),
                          part("scales"), part("indices"), part("header"), part("socket"),
                          absl::StrFormat("%.2f", latency.at("wall").get<double>()),
                          absl::StrFormat("%.1f", latency.at("p50").get<double>())});
  }
  const bool has_divergence = std::ranges::any_of(
      table.rows, [](const auto& cells) { return !cells[kDivergenceColumn].empty(); });
  if (!has_divergence) table.Drop(kDivergenceColumn);
  if (versus.empty()) table.Drop(kVersusColumn);
  return table;
}

std::vector<std::string> DatasetsOf(const std::vector<Json>& rows) {
  std::vector<std::string> names;
  for (const Json& row : rows) {
    const std::string name = row.at("dataset").get<std::string>();
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

std::string IncompleteLines(const std::vector<Json>& rows) {
  std::string text;
  for (const Json& row : rows) {
    absl::StrAppend(&text, "incomplete, not in the table: ", row.at("point").get<std::string>(),
                    " on ", row.at("dataset").get<std::string>(), ", ",
                    row.at("answered").get<uint64_t>(), " of ", row.at("n").get<uint64_t>(),
                    " answered");
    const Json& skipped = row.at("skipped");
    if (!skipped.empty()) {
      absl::StrAppend(&text, "; skipped ", skipped.size(), ", first ",
                      skipped.at(0).at("id").get<std::string>(), ": ",
                      skipped.at(0).at("reason").get<std::string>());
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

constexpr char kLegend[] =
    "bytes: mean serialized size of what crossed for a question, and its parts. socket: all that "
    "crossed the socket between\nsharer and receiver, both ways, where it was metered. ms: run "
    "time a "
    "question with all in flight; p50 ms: from a question's\narrival at the receiver to its "
    "answer, "
    "queueing included. [95 %]: Wilson; differences paired.\n";

}  // namespace

absl::StatusOr<Report> MakeReport(const std::filesystem::path& run_folder) {
  ASSIGN_OR_RETURN(const std::vector<Json> points, ReadResults(run_folder, "points"));
  std::vector<Json> incomplete;
  if (absl::StatusOr<std::vector<Json>> rows = ReadResults(run_folder, "incomplete"); rows.ok()) {
    incomplete = std::move(*rows);
  }
  try {
    Report report;
    for (const std::string& dataset : DatasetsOf(points)) {
      const TextTable table = TableOf(points, dataset);
      absl::StrAppend(&report.terminal, "\n", dataset, "\n", table.Terminal());
      absl::StrAppend(&report.markdown, "### ", dataset, "\n\n", table.Markdown(), "\n");
    }
    const std::string lines = IncompleteLines(incomplete);
    absl::StrAppend(&report.terminal, "\n", lines, kLegend);
    absl::StrAppend(&report.markdown, lines, lines.empty() ? "" : "\n", kLegend);
    return report;
  } catch (const Json::exception& e) {
    return absl::DataLossError(
        absl::StrCat((run_folder / "results").string(), ": a point without a field: ", e.what()));
  }
}

}  // namespace qc2c
