#include "experiments/point_summary.h"

#include <map>
#include <unordered_map>

#include "experiments/statistics.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;

// The mean of getter(prediction).
template <typename Getter>
double MeanOf(const std::vector<Prediction>& predictions, Getter getter) {
  double sum = 0;
  for (const Prediction& prediction : predictions) sum += static_cast<double>(getter(prediction));
  return sum / static_cast<double>(predictions.size());
}

// Null if any session of the point ran without a meter: a part would look like the whole.
Json SocketBytesOf(const std::vector<Prediction>& predictions) {
  for (const Prediction& p : predictions) {
    if (!p.socket_bytes) return nullptr;
  }
  return MeanOf(predictions, [](const Prediction& p) { return *p.socket_bytes; });
}

Json BytesOf(const std::vector<Prediction>& predictions) {
  std::vector<double> tx;
  for (const Prediction& p : predictions) tx.push_back(static_cast<double>(p.bytes.tx()));
  const auto mean = [&](uint64_t (v1::ByteCounts::*field)() const) {
    return MeanOf(predictions, [field](const Prediction& p) { return (p.bytes.*field)(); });
  };
  return {{"mean", Mean(tx)},
          {"p50", Percentile(tx, 0.5)},
          {"payload", mean(&v1::ByteCounts::payload)},
          {"scales", mean(&v1::ByteCounts::scales)},
          {"indices", mean(&v1::ByteCounts::indices)},
          {"header", mean(&v1::ByteCounts::header)},
          {"grpc", mean(&v1::ByteCounts::grpc)},
          {"socket", SocketBytesOf(predictions)},
          {"formula", mean(&v1::ByteCounts::formula)},
          {"raw", mean(&v1::ByteCounts::raw)},
          {"messages", mean(&v1::ByteCounts::messages)}};
}

// The mean of what each sharer sent; nothing where there is one.
Json BytesBySharer(const std::vector<Prediction>& predictions) {
  std::map<uint32_t, double> sums;
  for (const Prediction& p : predictions) {
    for (const auto& from : p.by_sharer) sums[from.sharer] += static_cast<double>(from.bytes_tx);
  }
  Json rows = Json::array();
  for (const auto& [sharer, sum] : sums) {
    rows.push_back({{"sharer", sharer}, {"mean", sum / static_cast<double>(predictions.size())}});
  }
  return rows;
}

Json LatencyOf(const std::vector<Prediction>& predictions) {
  std::vector<double> total;
  for (const Prediction& p : predictions) {
    total.push_back(static_cast<double>(p.times.total_us()) / 1000);
  }
  const auto mean = [&](uint64_t (v1::StageTimes::*field)() const) {
    return MeanOf(predictions, [field](const Prediction& p) { return (p.times.*field)(); }) / 1000;
  };
  return {{"p50", Percentile(total, 0.5)},
          {"p90", Percentile(total, 0.9)},
          {"wall", MeanOf(predictions, [](const Prediction& p) { return p.wall_us; }) / 1000},
          {"stages",
           {{"queue", mean(&v1::StageTimes::queue_us)},
            {"tokenize", mean(&v1::StageTimes::tokenize_us)},
            {"sharer_prefill", mean(&v1::StageTimes::sharer_prefill_us)},
            {"encode", mean(&v1::StageTimes::encode_us)},
            {"transfer", mean(&v1::StageTimes::transfer_us)},
            {"decode_cache", mean(&v1::StageTimes::decode_cache_us)},
            {"receiver_prefill", mean(&v1::StageTimes::receiver_prefill_us)},
            {"fuse", mean(&v1::StageTimes::fuse_us)},
            {"generate", mean(&v1::StageTimes::generate_us)}}}};
}

PairedCounts CountPairs(const std::vector<Prediction>& predictions,
                        const std::vector<Prediction>& reference) {
  std::unordered_map<std::string, bool> was_correct;
  for (const Prediction& p : reference) was_correct[p.id] = p.correct;
  PairedCounts counts;
  for (const Prediction& p : predictions) {
    const auto found = was_correct.find(p.id);
    if (found == was_correct.end()) continue;
    ++counts.n;
    counts.won += p.correct && !found->second ? 1 : 0;
    counts.lost += !p.correct && found->second ? 1 : 0;
  }
  return counts;
}

// The mean divergence of the option distributions from the reference's; null where there are none.
Json MeanDivergence(const std::vector<Prediction>& predictions,
                    const std::vector<Prediction>& reference) {
  std::unordered_map<std::string, const std::vector<double>*> scores;
  for (const Prediction& p : reference) scores[p.id] = &p.option_scores;
  std::vector<double> divergences;
  for (const Prediction& p : predictions) {
    const auto found = scores.find(p.id);
    if (found == scores.end() || p.option_scores.empty()) continue;
    if (found->second->size() != p.option_scores.size()) continue;
    divergences.push_back(KlDivergence(*found->second, p.option_scores));
  }
  return divergences.empty() ? Json(nullptr) : Json(Mean(divergences));
}

Json ToJson(const Interval& interval) { return Json::array({interval.low, interval.high}); }

}  // namespace

Json SummarizePoint(const Point& point, const std::string& dataset,
                    const std::vector<Prediction>& predictions, const Reference* reference) {
  uint64_t correct = 0;
  uint64_t unreadable = 0;
  for (const Prediction& p : predictions) {
    correct += p.correct ? 1 : 0;
    unreadable += p.pred.has_value() ? 0 : 1;
  }
  const uint64_t n = predictions.size();
  Json row = {{"point", point.name}, {"dataset", dataset}, {"mode", ModeName(point.mode)}};
  row["codec"] = point.codec ? CodecToJson(*point.codec) : Json(nullptr);
  if (point.control == v1::CONTROL_WRONG_QUESTION) row["control"] = "wrong_question";
  if (point.control == v1::CONTROL_ZERO_CACHE) row["control"] = "zero_cache";
  if (!point.sharers.empty()) row["sharers"] = point.sharers;
  if (point.combine != v1::COMBINE_UNSPECIFIED) row["combine"] = CombineName(point.combine);
  row["n"] = n;
  row["correct"] = correct;
  row["accuracy"] = static_cast<double>(correct) / static_cast<double>(n);
  row["ci95"] = ToJson(WilsonInterval(correct, n));
  row["unreadable"] = unreadable;
  row["input_tokens"] = MeanOf(predictions, [](const Prediction& p) { return p.input_tokens; });
  row["kept_tokens"] = MeanOf(predictions, [](const Prediction& p) { return p.kept_tokens; });
  if (point.codec && point.codec->klt && point.codec->klt->fallback) {
    row["codec_fallbacks"] = std::ranges::count_if(
        predictions, [](const Prediction& p) { return !p.codec_fallback.empty(); });
  }
  row["bytes_tx"] = BytesOf(predictions);
  const Json by_sharer = BytesBySharer(predictions);
  if (!by_sharer.empty()) row["bytes_tx"]["by_sharer"] = by_sharer;
  row["latency_ms"] = LatencyOf(predictions);
  if (reference == nullptr) return row;
  const PairedCounts counts = CountPairs(predictions, reference->predictions);
  if (counts.n == 0) return row;
  row["versus"] = {{"point", reference->point},
                   {"n", counts.n},
                   {"won", counts.won},
                   {"lost", counts.lost},
                   {"p_mcnemar", McNemarExactP(counts)},
                   {"diff", PairedDifference(counts)},
                   {"diff_ci95", ToJson(PairedDifferenceInterval(counts))}};
  const Json divergence = MeanDivergence(predictions, reference->predictions);
  if (!divergence.is_null()) row["versus"]["kl"] = divergence;
  return row;
}

}  // namespace qc2c
