// Prometheus metrics whose names, help texts and label names are declared once, as members of a
// typed struct (qc2c_metrics.h), and whose number of label sets is bounded whatever peers send.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <array>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace qc2c {

// A family keeps at most this many label sets that a peer could have made up.
inline constexpr size_t kMaxLabelSets = 256;
// A longer value of an open label counts as "other".
inline constexpr size_t kMaxLabelBytes = 128;
inline constexpr char kOtherLabel[] = "other";

// Owns the registry. Thread-safe.
class Metrics {
 public:
  Metrics() = default;
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // Everything in the Prometheus text format 0.0.4.
  std::string Serialize() const;

  prometheus::Registry& registry() { return registry_; }

 private:
  prometheus::Registry registry_;
};

enum class LabelKind {
  kClosed,  // the values are ours (part, stage, fate, method, code, reason, a sharer's address)
  kOpen,    // the values come from a peer (codec, dataset, mode)
};

struct Label {
  std::string name;
  LabelKind kind = LabelKind::kClosed;
};

// The handles of one family, found by N label values. With() looks a handle up, or makes it; once
// the family is full, a new label set is counted with its open labels replaced by "other".
// Thread-safe; handles live as long as the Metrics that the family was made in.
template <typename Metric, size_t N>
class Handles {
 public:
  explicit Handles(std::array<Label, N> labels) : labels_(std::move(labels)) {}

 protected:
  template <typename Make>
  Metric& Find(const std::array<std::string_view, N>& values, const Make& make) {
    std::array<std::string, N> key;
    for (size_t i = 0; i < N; ++i) key[i] = std::string(values[i]);
    std::lock_guard lock(mutex_);
    if (auto it = handles_.find(key); it != handles_.end()) return *it->second;
    for (size_t i = 0; i < N; ++i) {
      if (labels_[i].kind == LabelKind::kClosed) continue;
      if (handles_.size() >= kMaxLabelSets || key[i].size() > kMaxLabelBytes) key[i] = kOtherLabel;
    }
    auto [it, inserted] = handles_.try_emplace(key, nullptr);
    if (inserted) {
      prometheus::Labels pairs;
      for (size_t i = 0; i < N; ++i) pairs[labels_[i].name] = key[i];
      it->second = &make(pairs);
    }
    return *it->second;
  }

 private:
  const std::array<Label, N> labels_;
  std::mutex mutex_;
  std::map<std::array<std::string, N>, Metric*> handles_;
};

template <size_t N>
class CounterFamily : public Handles<prometheus::Counter, N> {
 public:
  CounterFamily(Metrics& metrics, const std::string& name, const std::string& help,
                std::array<Label, N> labels)
      : Handles<prometheus::Counter, N>(std::move(labels)),
        family_(prometheus::BuildCounter().Name(name).Help(help).Register(metrics.registry())) {}

  template <typename... Values>
  prometheus::Counter& With(const Values&... values) {
    static_assert(sizeof...(Values) == N, "a value for each label");
    return this->Find({std::string_view(values)...},
                      [&](const auto& labels) -> auto& { return family_.Add(labels); });
  }

 private:
  prometheus::Family<prometheus::Counter>& family_;
};

template <size_t N>
class HistogramFamily : public Handles<prometheus::Histogram, N> {
 public:
  // `bounds`: the inclusive upper bounds of the buckets, ascending.
  HistogramFamily(Metrics& metrics, const std::string& name, const std::string& help,
                  std::array<Label, N> labels, prometheus::Histogram::BucketBoundaries bounds)
      : Handles<prometheus::Histogram, N>(std::move(labels)),
        bounds_(std::move(bounds)),
        family_(prometheus::BuildHistogram().Name(name).Help(help).Register(metrics.registry())) {}

  template <typename... Values>
  prometheus::Histogram& With(const Values&... values) {
    static_assert(sizeof...(Values) == N, "a value for each label");
    return this->Find({std::string_view(values)...},
                      [&](const auto& labels) -> auto& { return family_.Add(labels, bounds_); });
  }

 private:
  const prometheus::Histogram::BucketBoundaries bounds_;
  prometheus::Family<prometheus::Histogram>& family_;
};

// Metrics without labels, exposed from the start.
prometheus::Counter& MakeCounter(Metrics& metrics, const std::string& name,
                                 const std::string& help);
prometheus::Gauge& MakeGauge(Metrics& metrics, const std::string& name, const std::string& help);
prometheus::Histogram& MakeHistogram(Metrics& metrics, const std::string& name,
                                     const std::string& help,
                                     const prometheus::Histogram::BucketBoundaries& bounds);

// first, first * 2, ..., `count` bounds.
prometheus::Histogram::BucketBoundaries DoublingBounds(double first, size_t count);

}  // namespace qc2c
