#include "experiments/byte_agreement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/metrics_page.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kSharer[] = R"(# HELP qc2c_tx_bytes_total Bytes sent
# TYPE qc2c_tx_bytes_total counter
qc2c_tx_bytes_total{codec="int8,select=back,keep_ratio=0.5",part="payload"} 800
qc2c_tx_bytes_total{codec="bf16",part="payload"} 2.2e3
qc2c_tx_bytes_total{codec="bf16",part="scales"} 40
qc2c_tx_bytes_total{codec="bf16",part="indices"} 8
qc2c_tx_bytes_total{codec="bf16",part="header"} 152
qc2c_tx_bytes_total{codec="text",part="payload"} 5
)";
constexpr char kReceiver[] = R"(
qc2c_rx_bytes_total{codec="bf16",part="payload"} 3000
qc2c_rx_bytes_total{codec="bf16",part="scales"} 40
qc2c_rx_bytes_total{codec="bf16",part="indices"} 8
qc2c_rx_bytes_total{codec="bf16",part="header"} 152
qc2c_rx_bytes_total{codec="text",part="payload"} 5
qc2c_questions_total{dataset="d",mode="fused",codec="bf16"} 3
qc2c_correct_total{dataset="d",mode="fused",codec="bf16"} 2
)";

SessionTotals Session() {
  SessionTotals session;
  session.cache_bytes.set_tx(3200);
  session.cache_bytes.set_payload(3000);
  session.cache_bytes.set_scales(40);
  session.cache_bytes.set_indices(8);
  session.cache_bytes.set_header(152);
  session.text_bytes.set_tx(5);
  session.text_bytes.set_payload(5);
  session.questions = 3;
  session.correct = 2;
  return session;
}

TEST(ByteAgreementTest, EqualCountsAgree) {
  const ByteAgreement agreement = *CompareByteCounts(kSharer, kReceiver, Session());
  EXPECT_TRUE(agreement.agrees) << agreement.table;
  EXPECT_THAT(agreement.table, HasSubstr("agree"));
}

TEST(ByteAgreementTest, OneByteOfDifferenceOnAnySideIsSeen) {
  std::string sharer = kSharer;
  sharer.replace(sharer.find("} 40"), 4, "} 41");
  EXPECT_FALSE(CompareByteCounts(sharer, kReceiver, Session())->agrees);
  std::string receiver = kReceiver;
  receiver.replace(receiver.find("} 152"), 5, "} 151");
  EXPECT_FALSE(CompareByteCounts(kSharer, receiver, Session())->agrees);
  SessionTotals session = Session();
  session.text_bytes.set_payload(4);
  EXPECT_FALSE(CompareByteCounts(kSharer, kReceiver, session)->agrees);
  session = Session();
  session.correct = 3;
  EXPECT_FALSE(CompareByteCounts(kSharer, kReceiver, session)->agrees);
}

TEST(ByteAgreementTest, CountsThatDifferProveNothingWhereAQuestionFailedOrWasAskedAgain) {
  SessionTotals session = Session();
  session.cache_bytes.set_payload(2000);
  session.cache_bytes.set_tx(2200);
  EXPECT_TRUE(CompareByteCounts(kSharer, kReceiver, session)->comparable);
  session.failed = 2;
  const ByteAgreement agreement = *CompareByteCounts(kSharer, kReceiver, session);
  EXPECT_FALSE(agreement.comparable);
  EXPECT_THAT(agreement.table, HasSubstr("cannot be compared.\n2 questions failed"));
  EXPECT_THAT(agreement.table, Not(HasSubstr("DIFFER")));
  session.failed = 0;
  session.asked_again = 3;
  EXPECT_FALSE(CompareByteCounts(kSharer, kReceiver, session)->comparable);
}

TEST(MetricsPageTest, LabelsMayHaveEscapesCommasAndBraces) {
  const auto samples = *ParseMetrics("a{x=\"1,\\\"}\",y=\"\"} +Inf\nb 2\n");
  ASSERT_EQ(samples.size(), 2);
  EXPECT_EQ(samples[0].labels.at("x"), "1,\"}");
  EXPECT_EQ(samples[0].labels.at("y"), "");
  EXPECT_EQ(samples[1].value, 2);
}

TEST(MetricsPageTest, APageThatIsNoneIsRefused) {
  for (const char* page : {"<html>", "a{x=\"1\" 2", "a{x=1} 2", "a"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseMetrics(page).status())) << page;
  }
}

}  // namespace
}  // namespace qc2c
