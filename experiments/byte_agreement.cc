#include "experiments/byte_agreement.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "experiments/metrics_page.h"
#include "experiments/text_table.h"

namespace qc2c {
namespace {

constexpr const char* kParts[] = {"payload", "scales", "indices", "header"};
constexpr char kTextCodec[] = "text";  // the label under which hints and answers are counted

enum class What { kCaches, kText };

double SumOf(const std::vector<MetricSample>& samples, const std::string& name,
             const std::string& part, What what) {
  double sum = 0;
  for (const MetricSample& sample : samples) {
    if (sample.name != name) continue;
    const auto label = [&](const char* key) {
      const auto found = sample.labels.find(key);
      return found == sample.labels.end() ? std::string() : found->second;
    };
    const bool is_text = label("codec") == kTextCodec;
    if (label("part") == part && is_text == (what == What::kText)) sum += sample.value;
  }
  return sum;
}

double SumOf(const std::vector<MetricSample>& samples, const std::string& name) {
  double sum = 0;
  for (const MetricSample& sample : samples) sum += sample.name == name ? sample.value : 0;
  return sum;
}

std::map<std::string, double> PartsOf(const v1::ByteCounts& bytes) {
  return {{"payload", static_cast<double>(bytes.payload())},
          {"scales", static_cast<double>(bytes.scales())},
          {"indices", static_cast<double>(bytes.indices())},
          {"header", static_cast<double>(bytes.header())}};
}

std::string Whole(double value) { return absl::StrFormat("%.0f", value); }

// Adds a row for each part and the total; false if a row's three counts differ.
bool AddRows(const std::vector<MetricSample>& sharer, const std::vector<MetricSample>& receiver,
             const v1::ByteCounts& driver, What what, TextTable& table) {
  const std::string name = what == What::kCaches ? "caches" : "text";
  const std::map<std::string, double> parts = PartsOf(driver);
  bool agrees = true;
  double tx_total = 0;
  double rx_total = 0;
  for (const char* part : kParts) {
    const double tx = SumOf(sharer, "qc2c_tx_bytes_total", part, what);
    const double rx = SumOf(receiver, "qc2c_rx_bytes_total", part, what);
    tx_total += tx;
    rx_total += rx;
    agrees = agrees && tx == rx && rx == parts.at(part);
    if (what == What::kCaches) {
      table.rows.push_back(
          {absl::StrCat(name, ", ", part), Whole(tx), Whole(rx), Whole(parts.at(part))});
    }
  }
  table.rows.push_back({absl::StrCat(name, ", all bytes"), Whole(tx_total), Whole(rx_total),
                        Whole(static_cast<double>(driver.tx()))});
  return agrees && tx_total == static_cast<double>(driver.tx());
}

std::string Verdict(bool agrees, bool comparable) {
  if (agrees) return "The three counts agree.\n";
  if (comparable) return "THE COUNTS DIFFER: a byte was lost or counted twice.\n";
  return "The three counts cannot be compared.\n";
}

std::string Excuses(const SessionTotals& session) {
  std::string text;
  if (session.asked_again > 0) {
    absl::StrAppend(&text, session.asked_again,
                    " questions were asked again, which the daemons count twice.\n");
  }
  if (session.failed > 0) {
    absl::StrAppend(&text, session.failed,
                    " questions failed; what crossed for them only the daemons count.\n");
  }
  return text;
}

}  // namespace

absl::StatusOr<ByteAgreement> CompareByteCounts(const std::string& sharer_page,
                                                const std::string& receiver_page,
                                                const SessionTotals& session) {
  ASSIGN_OR_RETURN(const std::vector<MetricSample> sharer, ParseMetrics(sharer_page));
  ASSIGN_OR_RETURN(const std::vector<MetricSample> receiver, ParseMetrics(receiver_page));
  TextTable table;
  table.columns = {{"this session", TextTable::Align::kLeft},
                   {"sharer sent"},
                   {"receiver read"},
                   {"driver was told"}};
  bool agrees = AddRows(sharer, receiver, session.cache_bytes, What::kCaches, table);
  agrees = AddRows(sharer, receiver, session.text_bytes, What::kText, table) && agrees;
  const double questions = SumOf(receiver, "qc2c_questions_total");
  const double correct = SumOf(receiver, "qc2c_correct_total");
  table.rows.push_back({"scored answers", "", Whole(questions), absl::StrCat(session.questions)});
  table.rows.push_back({"correct answers", "", Whole(correct), absl::StrCat(session.correct)});
  agrees = agrees && questions == static_cast<double>(session.questions) &&
           correct == static_cast<double>(session.correct);
  const bool comparable = session.asked_again == 0 && session.failed == 0;
  return ByteAgreement{agrees, comparable,
                       table.Terminal() + Verdict(agrees, comparable) + Excuses(session)};
}

}  // namespace qc2c
